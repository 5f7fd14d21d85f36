"""The OpenAPI document of a service: fetched from it, or read from a file, and refused when it is something else."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx

from harness.errors import HarnessError, UsageError
from harness.scenario.target import parse_target
from harness.units import format_bytes, format_duration, quoted

LARGEST = 8 << 20
DEFAULT_TARGET = "http://127.0.0.1:8000"
ONE_REQUEST = 'or describe one request: harness init URL --request "POST /v1/read" --json \'{"text": "..."}\''


@dataclass(frozen=True, slots=True)
class Api:
    """What was found: the document, where it came from, and the base address of what it describes."""

    tree: dict[str, Any]
    source: str
    target: str

    @property
    def title(self) -> str:
        """The name the service gives itself; may be empty."""
        return self._about("title")

    @property
    def version(self) -> str:
        """The version the service gives itself; may be empty."""
        return self._about("version")

    def _about(self, key: str) -> str:
        about = self.tree.get("info")
        value = about.get(key) if isinstance(about, dict) else None
        return value if isinstance(value, str) else ""


def read_api(where: str, timeout_s: float) -> Api:
    """The API at a base URL, at the URL of its openapi.json, or in a file. Raises UsageError and HarnessError."""
    if "://" not in where and Path(where).is_file():
        tree = _checked(_file_content(Path(where)), where)
        return Api(tree, where, _served(tree, DEFAULT_TARGET, DEFAULT_TARGET))
    if "://" not in where and where.endswith(".json"):
        raise UsageError(f"there is no file {quoted(where)}", "give a URL, or the path of an openapi.json")
    named = urlsplit(where).path.endswith(".json")
    if named:
        parts = urlsplit(where)
        base = parse_target(urlunsplit((parts.scheme, parts.netloc, parts.path.rpartition("/")[0], "", "")))
    else:
        base = parse_target(where)
    url = where if named else f"{base}/openapi.json"
    tree = _checked(_fetched(url, timeout_s), url)
    return Api(tree, url, _served(tree, url, base))


def _served(tree: dict[str, Any], document: str, base: str) -> str:
    """The base address: the host that was asked, with the path the document says its operations start at."""
    servers = tree.get("servers")
    first = servers[0] if isinstance(servers, list) and servers and isinstance(servers[0], dict) else {}
    url = first.get("url")
    if not isinstance(url, str) or not url or url == "/":
        return base
    variables = first.get("variables")
    for name, variable in (variables if isinstance(variables, dict) else {}).items():
        url = url.replace("{" + str(name) + "}", str(variable.get("default", "") if isinstance(variable, dict) else ""))
    try:
        served = urlsplit(urljoin(document, url))
        asked = served if document == DEFAULT_TARGET and "://" in url else urlsplit(base)
        return parse_target(urlunsplit((asked.scheme, asked.netloc, served.path, "", "")))
    except (ValueError, UsageError):
        return base


# --- bytes ------------------------------------------------------------------------------------------------


def _file_content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(f"cannot read {quoted(path)}: {error.strerror}", "check its permissions") from None


def _fetched(url: str, timeout_s: float) -> bytes:
    try:
        with httpx.Client(timeout=timeout_s, follow_redirects=True, trust_env=False) as client:
            return _streamed(client, url, timeout_s)
    except httpx.TimeoutException:
        raise _too_slow(url, timeout_s) from None
    except httpx.ConnectError as error:
        if "CERTIFICATE" in str(error).upper():
            hint = f"fetch it without the check: curl -k {url} -o openapi.json, then: harness init openapi.json"
            raise HarnessError(f"the certificate of {quoted(url)} is not trusted", hint) from None
        hint = "start the service, or give the address it listens on"
        raise HarnessError(f"nothing answers at {quoted(url, 100)}", hint) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise HarnessError(f"cannot fetch {quoted(url, 100)}: {words}", "check the address") from None


def _streamed(client: httpx.Client, url: str, timeout_s: float) -> bytes:
    until = time.monotonic() + timeout_s
    content = bytearray()
    with client.stream("GET", url, headers={"Accept": "application/json"}) as answer:
        if answer.status_code != 200:
            raise _unwilling(url, answer.status_code)
        for chunk in answer.iter_bytes():
            content += chunk
            if time.monotonic() > until:
                raise _too_slow(url, timeout_s)
            if len(content) > LARGEST:
                break
    return bytes(content)


def _too_slow(url: str, timeout_s: float) -> HarnessError:
    problem = f"{quoted(url, 100)} did not answer within {format_duration(timeout_s, trim=True)}"
    return HarnessError(problem, "is it still loading? --timeout 60s waits longer")


def _unwilling(url: str, status: int) -> HarnessError:
    problem = f"{quoted(url, 100)} was answered with status {status}"
    if status in (401, 403):
        hint = "fetch it yourself, with a token: curl -H ... -o openapi.json, then: harness init openapi.json"
    elif status == 404:
        hint = f"FastAPI serves /openapi.json unless openapi_url=None; give the address it has here, {ONE_REQUEST}"
    else:
        hint = f"look at the log of the service, {ONE_REQUEST}"
    return HarnessError(problem, hint)


def _checked(content: bytes, where: str) -> dict[str, Any]:
    shown = quoted(where, 100)
    if len(content) > LARGEST:
        raise HarnessError(f"{shown} is larger than {format_bytes(LARGEST)}", ONE_REQUEST.removeprefix("or "))
    try:
        tree = json.loads(content, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        raise HarnessError(f"{shown} is not JSON", "give the address of openapi.json itself, " + ONE_REQUEST) from None
    if isinstance(tree, dict) and "swagger" in tree:
        hint = f"convert the document to OpenAPI 3 (swagger2openapi does), {ONE_REQUEST}"
        raise HarnessError(f"{shown} is a Swagger {tree['swagger']} document: only OpenAPI 3 is read", hint)
    version = tree.get("openapi") if isinstance(tree, dict) else None
    if not isinstance(tree, dict) or not isinstance(version, str) or not version.startswith("3."):
        raise HarnessError(f"{shown} is JSON, but not an OpenAPI 3 document", f"give its address, {ONE_REQUEST}")
    if not isinstance(tree.get("paths"), dict) or not tree["paths"]:
        raise HarnessError(f"{shown} describes no operation (paths is empty)", ONE_REQUEST.removeprefix("or "))
    return tree
