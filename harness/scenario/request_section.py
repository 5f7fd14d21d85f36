"""The `requests:` section: what is sent and what a good answer looks like."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import jmespath

from harness.errors import ScenarioError, nearest
from harness.model import BodySpec, Expect, RequestSpec
from harness.scenario.document import Entry, Node, Scalar
from harness.scenario.files import payload_paths
from harness.scenario.values import (
    adds_nothing,
    entries_of,
    fields_of,
    items_of,
    json_of,
    number_of,
    one_or_more,
    parsed,
    text_of,
    whole_of,
)
from harness.units import parse_bytes, parse_duration_s, quoted

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
LONGEST_TIMEOUT_S = 3600.0

_BODIES = ("json", "body", "form", "text", "files")
_KEYS = ("name", "weight", "http", "params", "timeout", "headers", "expect", *_BODIES)
_LATER = {"python": "write json:, body:, form:, text: or files:, or describe the user in Python: users: flow.py:MyUser"}
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
Pairs = tuple[tuple[str, str], ...]


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
    fields = fields_of(node, what, _KEYS, _LATER)
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
        params=(*query, *_pairs(fields.get("params"), f"params of {what}")),
        headers=_headers(fields.get("headers"), f"headers of {what}"),
        body=_body(fields, what, folder),
        timeout_s=_timeout(fields["timeout"].node, f"timeout of {what}") if "timeout" in fields else 30.0,
        expect=_expect(fields["expect"].node, f"expect of {what}") if "expect" in fields else Expect(),
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


def _pairs(entry: Entry | None, what: str) -> Pairs:
    """Names and texts as written; a list repeats the name."""
    if entry is None:
        return ()
    return tuple(
        (pair.key, text_of(value, f"{quoted(pair.key)} in {what}", empty=_is_quoted(value)))
        for pair in entries_of(entry.node, what)
        for value in one_or_more(pair.node, f"{quoted(pair.key)} in {what}")
    )


def _is_quoted(node: Node) -> bool:
    return isinstance(node, Scalar) and (not node.plain or "${" in node.raw)


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
        value = text_of(pair.node, f"{quoted(pair.key)} in {what}", empty=_is_quoted(pair.node))
        if adds_nothing(pair.node, value):  # "Bearer ${API_TOKEN:-}" without a token: better no header than half a one
            continue
        value = value.strip()
        if not all(c == "\t" or " " <= c <= "~" or "\xa0" <= c <= "\xff" for c in value):
            # Not quoted back: headers carry secrets.
            problem = f"the value of {quoted(pair.key)} in {what} has a character that no header can carry"
            raise ScenarioError(problem, "one line of Latin-1 text; look for a line break at its end", pair.where)
        seen[pair.key] = value
    return tuple(seen.items())


def _body(fields: Mapping[str, Entry], what: str, folder: Path) -> BodySpec:
    given = [key for key in _BODIES if key in fields]
    if len(given) > 1 and set(given) != {"form", "files"}:
        hint = "keep one of them; only form: goes together with files:"
        raise ScenarioError(f"{what} has two bodies: {' and '.join(given)}", hint, fields[given[1]].where)
    if not given:
        return BodySpec()
    label = {key: f"{key} of {what}" for key in _BODIES}
    return BodySpec(
        json=_json(fields["json"].node, label["json"]) if "json" in fields else None,
        text=text_of(fields["text"].node, label["text"], empty=True) if "text" in fields else None,
        form=_pairs(fields.get("form"), label["form"]),
        body=payload_paths(fields["body"].node, label["body"], folder) if "body" in fields else (),
        files=tuple(
            (pair.key, payload_paths(pair.node, f"{quoted(pair.key)} in {label['files']}", folder))
            for pair in (entries_of(fields["files"].node, label["files"]) if "files" in fields else ())
        ),
    )


def _json(node: Node, what: str) -> str:
    if isinstance(node, Scalar) and node.raw.lstrip()[:1] in ("{", "["):
        hint = "take the quotes away: YAML reads JSON as it is"
        raise ScenarioError(f"{what} is JSON inside a text, and would be sent as a text", hint, node.where)
    return json.dumps(json_of(node, what), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _expect(node: Node, what: str) -> Expect:
    fields = fields_of(node, what, ("status", "json", "max_bytes"))
    statuses: tuple[int, ...] = ()
    if "status" in fields:
        items = one_or_more(fields["status"].node, f"status in {what}")
        statuses = tuple(whole_of(item, f"status in {what}", 100, 599, "200") for item in items)
    checks = entries_of(fields["json"].node, f"json in {what}") if "json" in fields else ()
    max_bytes = None
    if "max_bytes" in fields:
        max_bytes = parsed(fields["max_bytes"].node, f"max_bytes in {what}", parse_bytes)
    return Expect(statuses, tuple(_json_check(check, f"json in {what}") for check in checks), max_bytes)


def _json_check(check: Entry, what: str) -> tuple[str, object]:
    try:
        jmespath.compile(check.key)
    except (ValueError, RecursionError) as error:
        reason = (str(error).splitlines() or [""])[0].rstrip(": ")
        problem = reason if reason.isprintable() and reason else "it cannot be parsed"
        hint = "write a path such as lines[0].text (JMESPath)"
        raise ScenarioError(f"{what}: {quoted(check.key)} is not a path: {problem}", hint, check.where) from None
    expected = json_of(check.node, what)
    if isinstance(expected, str) and expected.startswith("~"):
        _check_pattern(expected[1:].strip(), what, check.where)
    return check.key, expected


def _check_pattern(pattern: str, what: str, where: str) -> None:
    try:
        with warnings.catch_warnings(action="ignore"):
            re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        problem = f"{what}: {quoted(pattern)} is not a regular expression: {error}"
        raise ScenarioError(problem, "what follows ~ is Python syntax: ( [ . * + ? need a \\ in front", where) from None
