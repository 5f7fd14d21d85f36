"""The `requests:` section: what is sent, and how often."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from harness.errors import ScenarioError, nearest
from harness.model import Expect, RequestSpec
from harness.scenario.body_section import BODIES, Pairs, is_quoted, read_body, read_pairs
from harness.scenario.document import Entry, Node, Scalar
from harness.scenario.expect_section import read_expect
from harness.scenario.values import adds_nothing, entries_of, fields_of, items_of, number_of, parsed, text_of
from harness.units import parse_duration_s, quoted

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
LONGEST_TIMEOUT_S = 3600.0

_KEYS = ("name", "weight", "http", "params", "timeout", "headers", "expect", *BODIES)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN_HEADERS = {
    "host": "it is taken from target",
    "content-length": "it is computed from the body",
    "transfer-encoding": "the body is sent with a Content-Length",
    "connection": "connections are kept alive",
    "expect": "bodies are sent without asking first",
    "te": "answers are read as they come",
    "trailer": "requests have no trailers",
    "upgrade": "requests stay HTTP/1.1",
    "traceparent": "each request needs its own for the ledger",
    "tracestate": "it belongs to traceparent",
}


def read_requests(node: Node, folder: Path) -> tuple[RequestSpec, ...]:
    """Every request of the mix, names distinct. Raises ScenarioError."""
    specs: dict[str, RequestSpec] = {}
    for position, item in enumerate(items_of(node, "requests"), 1):
        spec = _request(item, position, folder)
        if spec.name in specs:
            hint = "give each request its own name: statistics are kept by name"
            raise ScenarioError(f"two requests are named {quoted(spec.name)}", hint, item.where)
        specs[spec.name] = spec
    return tuple(specs.values())


def _request(node: Node, position: int, folder: Path) -> RequestSpec:
    what = _label(node, position)
    fields = fields_of(node, what, _KEYS)
    if "http" not in fields:
        raise ScenarioError(f"{what} has no http", "add http: POST /v1/read", node.where)
    method, path, query = _http(fields["http"].node, what)
    name = _name(fields, f"{method} {path}")
    weight = number_of(fields["weight"].node, f"weight of {what}", "3") if "weight" in fields else 1.0
    if weight <= 0:
        raise ScenarioError(f"weight of {what} must be above 0", "leave the request out", fields["weight"].where)
    return RequestSpec(
        name=name,
        method=method,
        path=path,
        weight=weight,
        params=(*query, *read_pairs(fields.get("params"), f"params of {what}")),
        headers=_headers(fields.get("headers"), f"headers of {what}"),
        body=read_body(fields, what, folder),
        timeout_s=_timeout(fields["timeout"].node, f"timeout of {what}") if "timeout" in fields else 30.0,
        expect=read_expect(fields["expect"].node, f"expect of {what}", folder) if "expect" in fields else Expect(),
    )


def _label(node: Node, position: int) -> str:
    """How messages call this request: by its name when it has a readable one."""
    if isinstance(node, Scalar):
        problem = f"request {position} should be `key: value` lines, but is {quoted(node.raw, 30)}"
        raise ScenarioError(problem, "write - http: POST /v1/read", node.where)
    entries = entries_of(node, f"request {position}")
    named = [entry.node for entry in entries if entry.key == "name"]
    if named and isinstance(named[0], Scalar) and named[0].raw:
        return f"request {quoted(named[0].raw)}"
    return f"request {position}"


def _name(fields: Mapping[str, Entry], default: str) -> str:
    if "name" not in fields:
        return default
    name = text_of(fields["name"].node, "name of a request").strip()
    if len(name) > 80 or not name.isprintable():
        raise ScenarioError(
            f"{quoted(name)} is no name for tables", "at most 80 characters, one line", fields["name"].where
        )
    return name


def _http(node: Node, what: str) -> tuple[str, str, Pairs]:
    """Method, path without query, query pairs."""
    text = text_of(node, f"http of {what}").strip()
    method, _, path = text.partition(" ")
    path = path.strip()
    if method.startswith("/") or "://" in method:
        raise ScenarioError(
            f"http of {what} has no method: {quoted(text)}", f"write GET {_path_only(method)}", node.where
        )
    if method.upper() not in METHODS:
        hint = nearest(method.upper(), METHODS)
        raise ScenarioError(f"http of {what}: unknown method {quoted(method)}", hint, node.where)
    if "://" in path:
        hint = f"the host comes from target; write {method.upper()} {_path_only(path)}"
        raise ScenarioError(f"http of {what} holds a whole URL", hint, node.where)
    if not path.startswith("/"):
        problem = f"the path {quoted(path)} does not start with /" if path else "the path is missing"
        raise ScenarioError(f"http of {what}: {problem}", f"write {method.upper()} /{path}", node.where)
    if not path.isascii() or "#" in path or any(c.isspace() or not c.isprintable() for c in path):
        hint = "percent-encode blanks, # and letters beyond ASCII, such as %20"
        raise ScenarioError(f"http of {what}: {quoted(path)} is not a path", hint, node.where)
    path, _, query = path.partition("?")
    return method.upper(), path, tuple(parse_qsl(query, keep_blank_values=True))


def _path_only(url: str) -> str:
    try:
        return urlsplit(url).path or "/"
    except ValueError:
        return "/v1/read"


def _timeout(node: Node, what: str) -> float:
    seconds = parsed(node, what, parse_duration_s)
    if not 0 < seconds <= LONGEST_TIMEOUT_S:
        raise ScenarioError(f"{what} must be above 0 and at most 1h", "write 30s for example", node.where)
    return seconds


def _headers(entry: Entry | None, what: str) -> Pairs:
    if entry is None:
        return ()
    seen: dict[str, str] = {}
    for pair in entries_of(entry.node, what):
        lower = pair.key.lower()
        if not _HEADER_NAME.fullmatch(pair.key):
            problem = f"{quoted(pair.key)} in {what} is not a header name"
            raise ScenarioError(problem, "letters, digits and dashes, such as X-Tenant", pair.where)
        if lower in _OWN_HEADERS:
            raise ScenarioError(f"{what} cannot set {quoted(pair.key)}: {_OWN_HEADERS[lower]}", "delete it", pair.where)
        if lower in (name.lower() for name in seen):
            raise ScenarioError(f"{what} set {quoted(pair.key)} twice", "case makes no difference", pair.where)
        value = text_of(pair.node, f"{quoted(pair.key)} in {what}", empty=is_quoted(pair.node))
        if adds_nothing(pair.node, value):  # "Bearer ${API_TOKEN:-}" without a token: better no header than half a one
            continue
        value = value.strip()
        if not all(c == "\t" or " " <= c <= "~" or "\xa0" <= c <= "\xff" for c in value):
            # Not quoted back: headers carry secrets.
            problem = f"the value of {quoted(pair.key)} in {what} has a character that no header can carry"
            raise ScenarioError(problem, "one line of Latin-1 text; look for a line break at its end", pair.where)
        seen[pair.key] = value
    return tuple(seen.items())
