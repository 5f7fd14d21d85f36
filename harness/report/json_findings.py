"""What was found as JSON: frozen dataclasses -> objects with the fields in their order, the same bytes each time.

Durations are seconds. Pairs of (unique name, value) become an object in the same order. A number that is not finite
has no place in JSON: it is null.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from enum import Enum
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from harness.errors import RunFolderError

Found = TypeVar("Found")


def render_findings(value: Any) -> str:
    """A dataclass as JSON text, indented, with a newline at its end."""
    return as_text(plain(value.__class__, value))


def parse_findings(cls: type[Found], text: str, hint: str = "measure it again with this version") -> Found:
    """What `render_findings` wrote, as `cls` again. Raises RunFolderError when the text is anything else."""
    wanted: type = cls
    try:
        found: Found = adapter(wanted).validate_python(paired(cls, loaded(text)))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as e:
        raise RunFolderError(f"this is no {cls.__name__} of this version: {first_line(e)}", hint) from e
    return found


def schema_of_findings(cls: type, title: str) -> dict[str, Any]:
    """The JSON schema of what `render_findings` writes of a `cls`; the committed schema files are copies of it."""
    made: dict[str, Any] = adapter(cls).json_schema(mode="serialization")
    definitions = made.pop("$defs", {})
    for definition in (made, *definitions.values()):
        definition.pop("title", None)
        for name, field in definition.get("properties", {}).items():
            field.pop("title", None)
            definition["properties"][name] = _pairs_schema(field)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **made,
        "$defs": definitions,
    }


def _pairs_schema(field: dict[str, Any]) -> dict[str, Any]:
    members = field.get("items", {}).get("prefixItems") if isinstance(field.get("items"), dict) else None
    is_pair = members is not None and len(members) == 2 and members[0] == {"type": "string"}
    return {"type": "object", "additionalProperties": members[1]} if members and is_pair else field


def as_text(made: Any) -> str:
    """What JSON has, as text."""
    text = json.dumps(made, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # an unpaired surrogate in a damaged name can only be written escaped
        text = json.dumps(made, indent=2, allow_nan=False)
    return text + "\n"


def loaded(text: str) -> Any:
    """JSON without the words that are no JSON. Raises ValueError, RecursionError."""
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def first_line(error: Exception) -> str:
    """What is wrong, on one line, with its place where that is known."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


@functools.cache
def adapter(cls: type) -> TypeAdapter[Any]:
    """Reads and describes a `cls`; made once, since that takes long."""
    return TypeAdapter(cls)


# --- dataclasses <-> what JSON has ---------------------------------------------------------------------------


def _value_type_of_pairs(hint: Any) -> Any:
    """X of a field declared as tuple[tuple[str, X], ...], else None."""
    if typing.get_origin(hint) is not tuple:
        return None
    member = typing.get_args(hint)[0]
    inner = typing.get_args(member)
    is_pair = typing.get_origin(member) is tuple and len(inner) == 2 and inner[0] is str and inner[1] is not ...
    return inner[1] if is_pair else None


def plain(hint: Any, value: Any) -> Any:
    """`value`, declared as `hint`, in objects, lists, texts and finite numbers."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if dataclasses.is_dataclass(value):
        hints = _hints(value.__class__)
        return {name: plain(hints[name], getattr(value, name)) for name in _field_names(value)}
    inner = _value_type_of_pairs(hint)
    if inner is not None:
        return {name: plain(inner, v) for name, v in value}
    if isinstance(value, tuple):
        return [plain(None, v) for v in value]
    return value.value if isinstance(value, Enum) else value


def paired(hint: Any, made: Any) -> Any:
    """Objects back to pairs, wherever the declaration asks for pairs."""
    if _value_type_of_pairs(hint) is not None and isinstance(made, dict):
        return list(made.items())
    for member in typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,):
        if isinstance(member, type) and dataclasses.is_dataclass(member) and isinstance(made, dict):
            hints = _hints(member)
            return {name: paired(hints.get(name), value) for name, value in made.items()}
    if typing.get_origin(hint) is tuple and isinstance(made, list):
        return [paired(typing.get_args(hint)[0], value) for value in made]
    return made


@functools.cache
def _hints(declared: type) -> dict[str, Any]:
    """The types of a dataclass's fields; working them out takes longer than all else here."""
    return typing.get_type_hints(declared)


def _field_names(value: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(value)]
