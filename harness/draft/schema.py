"""A value that a JSON schema accepts, of OpenAPI 3.0 (nullable, example) and 3.1 (type lists, const, examples)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

MOST_VALUES = 5000
MOST_ITEMS = 1000
LONGEST_TEXT = 10_000
_DEEPEST = 12
_TEXTS = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "duration": "PT1S",
    "email": "someone@example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "http://127.0.0.1/example",
    "url": "http://127.0.0.1/example",
    "hostname": "localhost",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "byte": "ZXhhbXBsZQ==",
    "base64": "ZXhhbXBsZQ==",
}
_GUESSES = ("example", "Example", "a", "A", "1", "0", "12345678", "en", "EN", "a1", "A1", "example-1", "2026-01-31")
_NOT_THERE = object()


class Endless(Exception):  # noqa: N818 - a property of a schema, caught where another way is left
    """The schema holds itself where it has to be filled, or is too large."""


class Schemas:
    """The schemas of one document. `doubts` collects what had to be guessed and may not be accepted."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._left = MOST_VALUES
        self.doubts: list[str] = []

    def fresh(self) -> Schemas:
        """The same schemas, nothing doubted yet."""
        return Schemas(self._document)

    def resolved(self, node: Any) -> dict[str, Any]:
        """What a node says once its $ref is followed; keys beside the $ref count more."""
        followed: dict[str, Any] = {}
        for _ in range(20):
            if not isinstance(node, Mapping):
                return followed
            followed = {**node, **followed}
            reference = followed.pop("$ref", None)
            if not isinstance(reference, str):
                return followed
            node = self._at(reference)
        return followed

    def _at(self, reference: str) -> Any:
        if not reference.startswith("#/"):
            self.doubts.append(f"{reference} is in another document")
            return {}
        node: Any = self._document
        for part in reference[2:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            node = node.get(key) if isinstance(node, Mapping) else None
        return node

    def plain(self, schema: Any, depth: int = 0) -> dict[str, Any]:
        """The schema with $ref followed, allOf merged, and of anyOf and oneOf the first one that is not null."""
        own = self.resolved(schema)
        if depth > _DEEPEST:
            return own
        for part in listed(own.pop("allOf", None)):
            own = _merged(self.plain(part, depth + 1), own)
        for key in ("anyOf", "oneOf"):
            variants = [self.resolved(variant) for variant in listed(own.pop(key, None))]
            chosen = next((v for v in variants if v.get("type") != "null"), None)
            if chosen is not None:
                own = _merged(self.plain(chosen, depth + 1), own)
        return own

    # --- values -------------------------------------------------------------------------------------------

    def value(self, schema: Any, name: str = "", seen: tuple[str, ...] = ()) -> Any:
        """A value the schema accepts; `name` is what it is called in doubts. Raises Endless."""
        self._left -= 1
        if self._left < 0 or len(seen) > _DEEPEST:
            raise Endless
        if isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str):
            if schema["$ref"] in seen:
                raise Endless
            seen = (*seen, schema["$ref"])
        own = self.resolved(schema)
        stated = self.stated(own)
        if stated is not _NOT_THERE:
            return stated
        for part in listed(own.pop("allOf", None)):
            seen = (*seen, *([part["$ref"]] if isinstance(part, Mapping) and "$ref" in part else []))
            own = _merged(self.plain(part), own)
        variants = [v for key in ("anyOf", "oneOf") for v in listed(own.pop(key, None))]
        if variants:
            return self._of_variants(variants, own, name, seen)
        stated = self.stated(own)
        return self._of_type(own, name, seen) if stated is _NOT_THERE else stated

    def stated(self, own: Mapping[str, Any]) -> Any:
        """The value the document itself gives: example, examples, default, const or the first of enum."""
        if "example" in own:
            return own["example"]
        if isinstance(own.get("examples"), list) and own["examples"]:
            return own["examples"][0]
        if own.get("default") is not None:
            return own["default"]
        if "const" in own:
            return own["const"]
        return own["enum"][0] if isinstance(own.get("enum"), list) and own["enum"] else _NOT_THERE

    def is_stated(self, schema: Any) -> bool:
        """Whether the document gives a value for it."""
        return self.stated(self.plain(schema)) is not _NOT_THERE

    def _of_variants(self, variants: list[Any], own: dict[str, Any], name: str, seen: tuple[str, ...]) -> Any:
        nullable = False
        for variant in variants:
            if isinstance(variant, Mapping) and variant.get("type") == "null":
                nullable = True
                continue
            try:
                found = self.value(variant, name, seen)
            except Endless:
                continue
            if isinstance(found, dict) and own.get("properties"):
                found = {**self._object(own, seen), **found}
            return found
        if nullable:
            return None
        raise Endless

    def _of_type(self, own: dict[str, Any], name: str, seen: tuple[str, ...]) -> Any:
        kind = _kind(own)
        if kind == "object":
            return self._object(own, seen)
        if kind == "array":
            return self._array(own, name, seen)
        if kind in ("integer", "number"):
            return _number(own, whole=kind == "integer")
        if kind == "boolean":
            return False
        return None if kind == "null" else self._text(own, name)

    def _object(self, own: dict[str, Any], seen: tuple[str, ...]) -> dict[str, Any]:
        required = listed(own.get("required"))
        properties = own.get("properties")
        made: dict[str, Any] = {}
        for key, schema in (properties if isinstance(properties, Mapping) else {}).items():
            plain = self.resolved(schema)
            if plain.get("readOnly") or (key not in required and not self.is_stated(schema)):
                continue
            try:
                made[key] = self.value(schema, key, seen)
            except Endless:
                if key in required:
                    raise
        return made

    def _array(self, own: dict[str, Any], name: str, seen: tuple[str, ...]) -> list[Any]:
        fixed = [self.value(item, name, seen) for item in listed(own.get("prefixItems"))]
        least = own.get("minItems")
        wanted = max(least if isinstance(least, int) else 0, 0 if fixed else 1) - len(fixed)
        if own.get("maxItems") == 0:
            return []
        if wanted > MOST_ITEMS:
            self.doubts.append(f"{name or 'a list'} needs {wanted:,} items")
            wanted = 1
        try:
            one = self.value(own.get("items"), name, seen) if wanted > 0 else None
        except Endless:
            if isinstance(least, int) and least > 0:
                raise
            return fixed
        return [*fixed, *[one] * wanted]

    def _text(self, own: Mapping[str, Any], name: str) -> str:
        kind = own.get("format")
        text = _TEXTS.get(kind if isinstance(kind, str) else "", "example")
        if own.get("contentEncoding") == "base64":
            text = _TEXTS["byte"]
        if isinstance(pattern := own.get("pattern"), str):
            return self._matching(pattern, text, name)
        least, most = own.get("minLength"), own.get("maxLength")
        if isinstance(least, int) and len(text) < least <= LONGEST_TEXT:
            text = (f"{text} " * least)[:least]
        return text[:most] if isinstance(most, int) and most >= 0 else text

    def _matching(self, pattern: str, text: str, name: str) -> str:
        try:
            found = next((guess for guess in (text, *_GUESSES) if re.search(pattern, guess)), None)
        except (re.error, RecursionError):
            found = None
        if found is None:
            self.doubts.append(f"{name or 'a text'} has to match {pattern}")
        return text if found is None else found


def _kind(own: Mapping[str, Any]) -> str:
    kind = own.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in own or "additionalProperties" in own:
        return "object"
    if "items" in own or "prefixItems" in own:
        return "array"
    return "number" if "minimum" in own or "maximum" in own else "string"


def _number(own: Mapping[str, Any], *, whole: bool) -> float:
    """1 where it is allowed, else what the limits allow: the middle of two, or the nearest to the only one."""
    low, high = _limit(own, "minimum", "exclusiveMinimum"), _limit(own, "maximum", "exclusiveMaximum")
    least, most = (low[0] if low else -math.inf), (high[0] if high else math.inf)
    if whole:
        least = least if math.isinf(least) else math.ceil(least) + (1 if low and low[1] and least == int(least) else 0)
        most = most if math.isinf(most) else math.floor(most) - (1 if high and high[1] and most == int(most) else 0)
        chosen = min(max(1, least), most)
    elif low and high:
        chosen = (least + most) / 2
    elif low:
        chosen = 1.0 if least < 1 else least + (1 if low[1] else 0)
    else:
        chosen = min(1.0, most - (1 if high and high[1] else 0))
    step = own.get("multipleOf")
    if isinstance(step, int | float) and not isinstance(step, bool) and step > 1e-9 and math.isfinite(chosen):
        chosen = math.ceil(chosen / step) * step
        chosen = chosen - step if chosen > most else chosen
    return int(chosen) if whole and math.isfinite(chosen) else float(chosen)


def _limit(own: Mapping[str, Any], name: str, exclusive: str) -> tuple[float, bool] | None:
    """(limit, whether it is outside). 3.0 marks the limit as exclusive with true, 3.1 gives another number."""
    limit, outside = own.get(name), own.get(exclusive)
    if isinstance(outside, int | float) and not isinstance(outside, bool):
        return float(outside), True
    if isinstance(limit, int | float) and not isinstance(limit, bool):
        return float(limit), outside is True
    return None


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**base, **over}
    properties = [p for p in (base.get("properties"), over.get("properties")) if isinstance(p, Mapping)]
    if properties:
        merged["properties"] = {key: value for part in properties for key, value in part.items()}
    merged["required"] = [*listed(base.get("required")), *listed(over.get("required"))]
    return merged


def listed(value: Any) -> list[Any]:
    """The value when it is a list, else an empty one: documents are not always what they should be."""
    return value if isinstance(value, list) else []
