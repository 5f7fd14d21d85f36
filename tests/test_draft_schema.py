"""Values from JSON schemas, and documents of any shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.draft import Given, drafted_requests, write_draft
from harness.draft.schema import Endless, Schemas
from harness.scenario.document import Block, parse_document
from harness.scenario.request_section import read_requests

# --- values from schemas -----------------------------------------------------------------------------------

TREE = {
    "Loop": {"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#/components/schemas/Loop"}}},
    "Leaf": {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Leaf"}}},
    "Itself": {"$ref": "#/components/schemas/Itself"},
    "All": {"allOf": [{"$ref": "#/components/schemas/All"}], "type": "integer"},
}
WITH_TREE = {"components": {"schemas": TREE}}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, 1),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "minimum": 5, "exclusiveMinimum": True}, 6),
        ({"type": "integer", "maximum": -2}, -2),
        ({"type": "integer", "minimum": 5, "multipleOf": 4}, 8),
        ({"type": "number", "minimum": 0, "maximum": 2}, 1.0),
        ({"type": "number", "exclusiveMinimum": 3}, 4.0),
        ({"type": ["null", "boolean"]}, False),
        ({"type": "string", "nullable": True}, "example"),
        ({"type": "string", "minLength": 10}, "example ex"),
        ({"type": "string", "maxLength": 2}, "ex"),
        ({"type": "string", "format": "date-time"}, "2026-01-31T12:00:00Z"),
        ({"type": "string", "format": "uuid"}, "00000000-0000-4000-8000-000000000000"),
        ({"type": "string", "contentEncoding": "base64"}, "ZXhhbXBsZQ=="),
        ({"type": "string", "pattern": "^[a-z]{2}$"}, "en"),
        ({"const": 7}, 7),
        ({"enum": ["b", "a"]}, "b"),
        ({"type": "string", "default": "d", "examples": ["e", "f"]}, "e"),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 3}, [1, 1, 1]),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}]}, [1, False]),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        ({"oneOf": [{"$ref": "#/components/schemas/Loop"}, {"type": "boolean"}]}, False),
        ({"allOf": [{"properties": {"a": {"default": 1}}}, {"properties": {"b": {"const": 2}}}]}, {"a": 1, "b": 2}),
        ({"$ref": "#/components/schemas/Leaf"}, {}),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Loop"}}, []),
        ({"$ref": "#/components/schemas/All"}, 1),
        ({"type": "object", "required": ["a"], "properties": {"a": {"readOnly": True}, "b": {"type": "string"}}}, {}),
    ],
)
def test_a_value_is_made_that_its_schema_accepts(schema: dict[str, Any], value: object) -> None:
    schemas = Schemas(WITH_TREE)

    assert schemas.value(schema) == value
    assert schemas.doubts == []


def test_a_schema_without_an_end_is_said_to_be_one() -> None:
    with pytest.raises(Endless):
        Schemas(WITH_TREE).value({"$ref": "#/components/schemas/Loop"})


def test_what_can_only_be_guessed_is_a_doubt() -> None:
    schemas = Schemas({})
    schemas.value({"type": "string", "pattern": "^[0-9]{17}$"}, "account")
    schemas.value({"$ref": "other.json#/x"})

    assert schemas.doubts == ["account has to match ^[0-9]{17}$", "other.json#/x is in another document"]


@given(st.integers(-50, 50), st.integers(0, 40), st.booleans())
def test_a_whole_number_stays_within_its_limits(low: int, width: int, outside: bool) -> None:
    least, most = ("exclusiveMinimum", "exclusiveMaximum") if outside else ("minimum", "maximum")
    made = Schemas({}).value({"type": "integer", least: low, most: low + width + 2})

    assert low + outside <= made <= low + width + 2 - outside


KEYS = st.sampled_from(
    ["properties", "required", "type", "items", "anyOf", "allOf", "$ref", "enum", "example", "examples", "name", "in",
     "value", "format", "default", "const", "pattern", "minItems", "encoding", "readOnly", "minimum", "maximum",
     "multipleOf", "minLength", "schema", "additionalProperties"]
)  # fmt: skip
LEAVES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 3, -1, 0.5, "string", "array", "object", "integer", "binary", "query", "path", "header",
     "#/paths", "#/paths/~1a/post", "no", "$x ${Y} $$", "a\nb: # \u2028\x00", "((", "null", [], {}]
)  # fmt: skip
TREES = st.recursive(
    LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=4) | st.lists(inner, max_size=3), max_leaves=20
)
MEDIA = st.sampled_from(
    ["application/json", "multipart/form-data", "application/x-www-form-urlencoded", "text/plain", "image/*", "$ \n"]
)
BODIES = st.fixed_dictionaries({"content": st.dictionaries(MEDIA, st.fixed_dictionaries({"schema": TREES}) | TREES)})
OPERATIONS = st.fixed_dictionaries(
    {},
    optional={
        "parameters": st.lists(
            st.fixed_dictionaries({"name": LEAVES, "in": LEAVES, "required": LEAVES, "schema": TREES})
        )
        | TREES,
        "requestBody": BODIES | TREES,
        "security": TREES,
        "summary": LEAVES,
        "deprecated": LEAVES,
    },
)
PATHS = st.dictionaries(
    st.sampled_from(["/a", "/a/{b}", "/c d/$", "x"]),
    st.dictionaries(st.sampled_from(["get", "post", "parameters"]), OPERATIONS | TREES, min_size=1),
    min_size=1,
)


@given(PATHS)
def test_a_document_of_any_shape_gives_a_text_that_is_read(paths: dict[str, Any]) -> None:
    requests = drafted_requests({"openapi": "3.1.0", "paths": paths}, Given())
    draft = write_draft("x", "http://127.0.0.1", requests, Path.cwd(), "a test")

    root = parse_document(draft.text, "x", {})
    assert isinstance(root, Block)
    (section,) = [entry.node for entry in root.entries if entry.key == "requests"]
    assert draft.active == (len(read_requests(section, Path.cwd())) if draft.active else 0)
    assert draft.active + draft.to_fill_in + draft.left_out == len(requests)
