"""Credentials a service asks for -> headers and parameters that take them from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.draft.requests import Drafted, literal
from harness.draft.schema import Schemas, listed


def add_security(request: Drafted, tree: Mapping[str, Any], required: Any, schemas: Schemas) -> None:
    """Add what every way in asks for, as some documents list what is needed together as one way each; nothing when
    one of the ways asks for nothing. A header whose variable is not set is not sent."""
    ways = [way for way in listed(required) if isinstance(way, Mapping)]
    if not all(ways):
        return
    components = tree.get("components")
    schemes = components.get("securitySchemes") if isinstance(components, Mapping) else None
    for name in dict.fromkeys(name for way in ways for name in way):
        _add(request, schemas.resolved(schemes.get(name) if isinstance(schemes, Mapping) else None))


def _add(request: Drafted, scheme: Mapping[str, Any]) -> None:
    kind, name = scheme.get("type"), scheme.get("name")
    if kind == "apiKey" and isinstance(name, str):
        section = "params" if scheme.get("in") == "query" else "headers"
        value = "${API_KEY:-}"
        if scheme.get("in") == "cookie":
            name, value = "Cookie", f"{literal(name)}={value}"
        _put(request, section, name, value, "set API_KEY in the environment; it is never written down")
    elif kind == "http" and str(scheme.get("scheme")).lower() == "basic":
        note = "set API_BASIC in the environment: user:password in base64; it is never written down"
        _put(request, "headers", "Authorization", "Basic ${API_BASIC:-}", note)
    elif kind in ("http", "oauth2", "openIdConnect"):
        note = "set API_TOKEN in the environment; it is never written down"
        _put(request, "headers", "Authorization", "Bearer ${API_TOKEN:-}", note)


def _put(request: Drafted, section: str, name: str, value: str, note: str) -> None:
    fields = request.fields.setdefault(section, {})
    if name not in fields:
        fields[name] = value
        request.notes.append(note)
