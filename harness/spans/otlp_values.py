"""Attributes of OTLP, protobuf or JSON, as what JSON can say; and what every signal reads alike. Pure.

OTLP/JSON is not the proto3 JSON mapping: ids are hexadecimal, where protobuf's own JSON reader would take them for
base64 and silently return other ids. It is therefore read by hand.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable
from typing import Any, TypeAlias

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

INT64_MAX = 2**63 - 1
NAME_LENGTH = 255
"""Characters kept of a name that is repeated in each row: without a limit one long name would become gigabytes."""

MOST_PARTS = 1_000_000
"""Resources, scopes and spans (or metrics) of one body. One takes two bytes when it is empty, and a microsecond or
two to look at: a body of nothing else would keep the receiver from answering for a minute."""

Owner: TypeAlias = tuple[str | None, int | None]

_DEEPEST_VALUE = 24
_FRAGMENTS_KEPT = 8192
_FRAGMENT_BYTES = 256

to_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode


class MalformedBody(ValueError):  # noqa: N818 - reads as the condition it reports
    """The body is not an OTLP request; the message is a short reason."""


def limited(room: int, parts: int) -> int:
    """What is left of `room` after so many more parts. Raises MalformedBody."""
    if parts > room:
        raise MalformedBody(f"the body has more than {MOST_PARTS:,} parts")
    return room - parts


def owner_of(attributes: dict[str, object]) -> Owner:
    """(service, pid) of a resource."""
    service, pid = attributes.get("service.name"), attributes.get("process.pid")
    named = service[:NAME_LENGTH] if isinstance(service, str) and service else None
    numbered = isinstance(pid, int) and not isinstance(pid, bool) and 0 <= pid <= INT64_MAX
    return named, pid if numbered else None  # type: ignore[return-value]


def _float(value: float) -> float | str:
    # JSON has no word for these; the spelling is that of protobuf's JSON mapping.
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


# --- protobuf ----------------------------------------------------------------------------------------------


class _Fragments(dict[bytes, tuple[str, str]]):
    """A serialised KeyValue -> (key, its `"key":value` in JSON).

    The spans of a service repeat most of their attributes: looking them up takes half the time of reading them.
    """

    def __missing__(self, encoded: bytes) -> tuple[str, str]:
        pair = KeyValue.FromString(encoded)
        found = pair.key, fragment(pair.key, _plain(pair.value, 0))
        if len(encoded) <= _FRAGMENT_BYTES:
            if len(self) >= _FRAGMENTS_KEPT:
                self.clear()
            self[encoded] = found
        return found


_fragments = _Fragments()


def fragments(pairs: Iterable[Any]) -> dict[str, str]:
    """Key -> `"key":value` of each attribute; of two with the same key the last one."""
    return dict(map(_fragments.__getitem__, map(KeyValue.SerializeToString, pairs)))


def fragment(key: str, value: object) -> str:
    """One member of a JSON object."""
    return f"{to_json(key)}:{to_json(value)}"


def joined(members: dict[str, str]) -> str | None:
    """The JSON object of some `fragments`; None when there are none."""
    return "{" + ",".join(members.values()) + "}" if members else None


def plain_pairs(pairs: Iterable[Any], depth: int = 0) -> dict[str, object]:
    """KeyValues as a dictionary."""
    return {pair.key: _plain(pair.value, depth) for pair in pairs}


def _plain(value: Any, depth: int) -> object:
    """An AnyValue as what JSON can say: bytes as base64, NaN and infinities as text."""
    which = value.WhichOneof("value")
    if which == "string_value":
        return value.string_value
    if which == "double_value":
        return _float(value.double_value)
    if which == "array_value":
        return "..." if depth >= _DEEPEST_VALUE else [_plain(v, depth + 1) for v in value.array_value.values]
    if which == "kvlist_value":
        return "..." if depth >= _DEEPEST_VALUE else plain_pairs(value.kvlist_value.values, depth + 1)
    if which == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    if which == "bool_value":
        return value.bool_value
    return value.int_value if which == "int_value" else None


# --- JSON --------------------------------------------------------------------------------------------------


def json_object(body: bytes) -> dict[str, Any]:
    """A body as a JSON object. Raises MalformedBody."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedBody("the body is not JSON") from error
    if not isinstance(found, dict):
        raise MalformedBody("the body is not a JSON object")
    return found


def member(holder: dict[str, Any], key: str) -> dict[str, Any]:
    """The object under a key, empty when there is none. Raises MalformedBody."""
    found = holder.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise MalformedBody(f"{key} is not an object")
    return found


def members(holder: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects of the array under a key, none when there is no array. Raises MalformedBody."""
    found = holder.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise MalformedBody(f"{key} is not an array of objects")
    return found


def text(holder: dict[str, Any], key: str) -> str:
    """The string under a key, empty when there is none. Raises MalformedBody."""
    found = holder.get(key)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise MalformedBody(f"{key} is not a string")
    # JSON can escape half a surrogate pair, which is no text and could not be stored.
    return found if found.isascii() else found.encode("utf-8", "replace").decode()


def hexadecimal(value: object) -> str:
    """A hexadecimal id in lower case; "-" (no id has this length) for anything else, so that the span is rejected."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return "-"
    try:
        plain = bytes.fromhex(value).hex()
    except ValueError:
        return "-"
    return plain if len(plain) == len(value) else "-"  # fromhex skips spaces, an id has none


def integer(value: object, what: str) -> int:
    """A number, which OTLP/JSON writes as a string or as a number; 0 when there is none. Raises MalformedBody."""
    if value is None:
        return 0
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        if isinstance(value, str) and value.isascii():
            return int(value)
        if isinstance(value, float):
            return int(value)
    except (ValueError, OverflowError):
        pass
    raise MalformedBody(f"{what} is not an integer")


def number(value: object, what: str) -> float:
    """A double, which OTLP/JSON writes as a number or, where JSON has no word for it, as text. Raises MalformedBody."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedBody(f"{what} is not a number") from error


def json_pairs(pairs: list[dict[str, Any]], depth: int = 0) -> dict[str, object]:
    """KeyValues as a dictionary. Raises MalformedBody."""
    return {text(pair, "key"): _json_plain(member(pair, "value"), depth) for pair in pairs}


def _json_plain(value: dict[str, Any], depth: int) -> object:
    if "stringValue" in value:
        return text(value, "stringValue")
    if "intValue" in value:
        found = integer(value["intValue"], "intValue")
        if not -INT64_MAX - 1 <= found <= INT64_MAX:
            raise MalformedBody("intValue does not fit into 64 bits")
        return found
    if "doubleValue" in value:
        return _float(number(value["doubleValue"], "doubleValue"))
    if "boolValue" in value:
        return value["boolValue"] is True
    if "arrayValue" in value:
        values = members(member(value, "arrayValue"), "values")
        return "..." if depth >= _DEEPEST_VALUE else [_json_plain(v, depth + 1) for v in values]
    if "kvlistValue" in value:
        pairs = members(member(value, "kvlistValue"), "values")
        return "..." if depth >= _DEEPEST_VALUE else json_pairs(pairs, depth + 1)
    return text(value, "bytesValue") if "bytesValue" in value else None
