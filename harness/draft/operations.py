"""The operations of an OpenAPI document -> drafted requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from harness.draft.body import Given, add_body
from harness.draft.requests import Drafted, literal
from harness.draft.schema import Endless, Schemas, listed
from harness.draft.security import add_security
from harness.draft.values import as_text, stated_value
from harness.scenario.body_section import BODIES

__all__ = ["Given", "drafted_requests"]

MOST_ACTIVE = 40
_METHODS = ("get", "post", "put", "patch", "delete")
_ASIDE = {
    "health", "healthz", "healthcheck", "live", "livez", "liveness", "ready", "readyz", "readiness", "ping", "metrics",
    "status", "version", "info", "docs", "redoc", "openapi.json", "favicon.ico", "robots.txt", "",
}  # fmt: skip
_OURS = {
    "accept", "authorization", "connection", "content-length", "content-type", "host", "traceparent", "tracestate",
    "user-agent",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Operation:
    method: str
    path: str
    own: Mapping[str, Any]
    shared: Mapping[str, Any]  # of the path
    schemas: Schemas = field(repr=False)


def drafted_requests(tree: Mapping[str, Any], given: Given) -> list[Drafted]:
    """One request per operation, in the order of the document; names are distinct."""
    drafted = [_drafted(operation, tree, given) for operation in _operations(tree)]
    if drafted and all(request.left_out for request in drafted):  # better these than none; what deletes never
        for request in drafted:
            if not request.http.startswith("DELETE"):
                request.left_out = None
    active = [request for request in drafted if request.left_out is None]
    for request in active[MOST_ACTIVE:]:
        request.left_out = f"the first {MOST_ACTIVE} are enough to begin with"
    _name_apart(drafted)
    return drafted


def _operations(tree: Mapping[str, Any]) -> list[_Operation]:
    schemas = Schemas(tree)
    found = []
    for path, node in tree["paths"].items():
        shared = schemas.resolved(node)
        for method, own in shared.items():
            if path.startswith("/") and method in _METHODS and isinstance(own, Mapping):
                found.append(_Operation(method.upper(), path, own, shared, schemas.fresh()))
    return found


def _drafted(operation: _Operation, tree: Mapping[str, Any], given: Given) -> Drafted:
    own = operation.own
    request = Drafted("", name_of(operation.path))
    says = own.get("description") or own.get("summary")
    if isinstance(says, str) and says.strip():
        request.notes.append(says.strip().splitlines()[0])
    request.left_out = _why_left_out(operation)
    path = _parameters(operation, request)
    request.http = f"{operation.method} {path}"
    add_security(request, tree, own.get("security", tree.get("security")), operation.schemas)
    try:
        add_body(request, operation.schemas, own.get("requestBody"), given)
    except (Endless, RecursionError):
        for key in BODIES:
            request.fields.pop(key, None)
        request.fields["json"] = {}
        request.fill.append("json, which the document describes without an end")
    request.fill += operation.schemas.doubts
    return request


def _why_left_out(operation: _Operation) -> str | None:
    if operation.method == "DELETE":
        return "it deletes something"
    if operation.own.get("deprecated") is True:
        return "it is deprecated"
    last = operation.path.rstrip("/").rpartition("/")[2].lower()
    return "it says little about the model" if operation.method == "GET" and last in _ASIDE else None


# --- parameters -------------------------------------------------------------------------------------------


def _parameters(operation: _Operation, request: Drafted) -> str:
    """Fill in what the request needs; returns the path."""
    schemas = operation.schemas
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for holder in (operation.shared, operation.own):
        for node in listed(holder.get("parameters")):
            parameter = schemas.resolved(node)
            found[str(parameter.get("in")), str(parameter.get("name"))] = parameter
    in_path: dict[str, str] = {}
    cookies: list[str] = []
    for (place, name), parameter in found.items():
        if not _wanted(parameter, schemas):
            continue
        value = _value(parameter, name, schemas)
        if place == "path":
            in_path[name] = as_text(value)
            if not _is_stated(parameter, schemas):
                request.notes.append(f"{name} is a guess: put one that exists")
        elif place == "query":
            request.fields.setdefault("params", {}).update(_query(name, value))
        elif place == "header" and name.lower() not in _OURS:
            request.fields.setdefault("headers", {})[name] = literal(as_text(value))
        elif place == "cookie":
            cookies.append(f"{name}={as_text(value)}")
    if cookies:
        request.fields.setdefault("headers", {})["Cookie"] = literal("; ".join(cookies))
    path = re.sub(r"\{([^{}]*)\}", lambda m: quote(in_path.get(m[1], "1"), safe="") or "1", operation.path)
    return literal(quote(path, safe="/%:@!$&'()*+,;=~-._")) if path else "/"


def _wanted(parameter: Mapping[str, Any], schemas: Schemas) -> bool:
    if parameter.get("in") == "path" or parameter.get("required") is True:
        return True
    given = stated_value(parameter, schemas) is not None  # an example, not just a default
    return given and parameter.get("in") == "query" and parameter.get("deprecated") is not True


def _is_stated(parameter: Mapping[str, Any], schemas: Schemas) -> bool:
    return stated_value(parameter, schemas) is not None or schemas.is_stated(parameter.get("schema"))


def _value(parameter: Mapping[str, Any], name: str, schemas: Schemas) -> Any:
    stated = stated_value(parameter, schemas)
    if stated is not None:
        return stated
    schema = parameter.get("schema")
    if schema is None and isinstance(parameter.get("content"), Mapping):
        schema = schemas.resolved(next(iter(parameter["content"].values()), None)).get("schema")
    try:
        return schemas.value(schema, name)
    except Endless:
        return "example"


def _query(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {str(key): literal(as_text(item)) for key, item in value.items()}
    if isinstance(value, list):
        return {name: [literal(as_text(item)) for item in value]} if value else {}
    return {name: literal(as_text(value))}


# --- names ------------------------------------------------------------------------------------------------


def name_of(path: str) -> str:
    """ "/v1/items/{item_id}" is "items-item_id": what is the same everywhere is left out."""
    parts = [part.strip("{}") for part in path.split("/") if part]
    told = [part for part in parts if not re.fullmatch(r"api|v[0-9]+[a-z0-9]*", part)]
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(told or parts)).strip("-")[:60] or "root"


def _name_apart(drafted: list[Drafted]) -> None:
    by_name: dict[str, list[Drafted]] = {}
    for request in drafted:
        by_name.setdefault(request.name, []).append(request)
    taken = {name for name, requests in by_name.items() if len(requests) == 1}
    for name, requests in by_name.items():
        for request in requests if len(requests) > 1 else ():
            own = wanted = f"{request.http.partition(' ')[0].lower()}-{name}"
            number = 2
            while own in taken:
                own, number = f"{wanted}-{number}", number + 1
            request.name = own
            taken.add(own)
