from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.chunks import schema_of
from harness.model import Span
from harness.spans.looks import wanted_attributes
from harness.spans.mapping import Rules, map_stages


def a_span(name: str, kind: str = "internal", stage: str | None = None, **attributes: Any) -> dict[str, Any]:
    text = json.dumps({k.replace("__", "."): v for k, v in attributes.items()}, separators=(",", ":"))
    return {
        "trace_id": "1" * 32, "span_id": "2" * 16, "parent_id": None, "name": name, "kind": kind, "service": None,
        "pid": None, "start_ns": 1, "end_ns": 2, "stage": stage, "attributes": text if attributes else None,
    }  # fmt: skip


def mapped(rules: Rules, *spans: dict[str, Any]) -> list[str | None]:
    table = map_stages(pa.Table.from_pylist(list(spans), schema=schema_of(Span)), rules)
    assert table.schema == schema_of(Span)
    stages: list[str | None] = table.column("stage").to_pylist()
    return stages


def test_what_a_span_says_about_itself_wins_over_every_rule() -> None:
    rules = (("postprocess", ("*",)),)

    assert mapped(rules, a_span("x", harness__stage="inference"), a_span("x")) == ["inference", "postprocess"]


@pytest.mark.parametrize("stage", ["upload", "queue", "preprocess", "inference", "postprocess", "download"])
def test_every_stage_of_a_server_may_be_claimed(stage: str) -> None:
    assert mapped((), a_span("x", harness__stage=stage)) == [stage]


@pytest.mark.parametrize("said", ["tokenize", "Inference", "other", "", 5, None, ["inference"], {"a": 1}])
def test_a_claim_that_is_no_stage_is_left_to_the_rules(said: object) -> None:
    spans = a_span("x", harness__stage=said), a_span("y", harness__stage=said)

    assert mapped((("queue", ("x",)),), *spans) == ["queue", None]


def test_rules_are_tried_in_the_order_of_the_scenario() -> None:
    rules = (("preprocess", ("resize*",)), ("inference", ("*.run", "resize.run")))

    assert mapped(rules, a_span("resize.run"), a_span("det.run"), a_span("other")) == ["preprocess", "inference", None]


def test_globs_heed_case_and_the_whole_name() -> None:
    rules = (("preprocess", ("decode", "step-[12]", "a?c")),)
    names = ["decode", "Decode", "decode jpeg", "step-1", "step-3", "abc", "ac"]

    expected = ["preprocess", None, None, "preprocess", None, "preprocess", None]
    assert mapped(rules, *map(a_span, names)) == expected


def test_an_attribute_rule_asks_for_its_presence_whatever_the_value() -> None:
    rules = (("inference", ("attr:model.name",)),)
    spans = [a_span("a", model__name="det"), a_span("b", model__name=None), a_span("c", model="det"), a_span("d")]

    assert mapped(rules, *spans) == ["inference", "inference", None, None]


def test_an_attribute_rule_with_a_value_is_a_glob_over_it() -> None:
    rules = (("inference", ("attr:op=run*",)), ("queue", ("attr:depth=3", "attr:waiting=true")))
    spans = [a_span("a", op="run_det"), a_span("b", op="load"), a_span("c", depth=3), a_span("d", waiting=True)]

    assert mapped(rules, *spans) == ["inference", None, "queue", "queue"]


def test_an_attribute_that_is_only_mentioned_in_a_value_is_not_there() -> None:
    rules = (("inference", ("attr:model.name",)),)
    nested = a_span("b", outer={"model.name": "det"})

    assert mapped(rules, a_span("a", note='"model.name"'), nested) == [None, None]


def test_keys_beyond_plain_letters_are_found() -> None:
    rules = (("inference", ('attr:modèle "x"',)), ("queue", ("attr:wait",)))

    assert mapped(rules, a_span("a", **{'modèle "x"': 1}), a_span("b", wait=1)) == ["inference", "queue"]


def test_a_root_is_mapped_only_by_its_exact_name_or_its_own_claim() -> None:
    rules = (("inference", ("*", "attr:model.name", "POST /*")), ("preprocess", ("POST /exact",)))
    spans = [
        a_span("POST /v1/read", "server", model__name="det"),
        a_span("POST /exact", "server"),
        a_span("POST /v1/read", "server", harness__stage="queue"),
        a_span("POST /v1/read", "client"),
    ]

    assert mapped(rules, *spans) == [None, "preprocess", "queue", "inference"]


def test_what_was_mapped_before_is_kept() -> None:
    rules = (("queue", ("x",)),)

    assert mapped(rules, a_span("x", stage="inference"), a_span("x")) == ["inference", "queue"]


def test_a_stage_that_nobody_can_claim_is_no_stage() -> None:
    assert mapped((("queue", ("x",)),), a_span("x", stage="other"), a_span("y", stage="?")) == ["queue", None]


def test_attributes_that_are_no_json_object_are_no_attributes() -> None:
    rules = (("inference", ("attr:model.name",)),)
    broken = {**a_span("x"), "attributes": '{"model.name":'}, {**a_span("y"), "attributes": '["model.name"]'}

    assert mapped(rules, *broken) == [None, None]


KEYS = ("model.name", "op", "n")
TEXTS = st.text(st.sampled_from('ab"\\\\{}[]:, é\\n'), max_size=5) | st.sampled_from([*KEYS, '"op":"x"', "{"])
VALUES = st.recursive(
    TEXTS | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | TEXTS, inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.none() | st.dictionaries(st.sampled_from(KEYS) | TEXTS, VALUES, max_size=4), min_size=1), st.data())
def test_cutting_a_value_out_of_the_text_finds_what_parsing_finds(
    spans: list[dict[str, Any] | None], data: st.DataObject
) -> None:
    separators = data.draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    texts = [None if each is None else json.dumps(each, separators=separators) for each in spans]

    found, which = wanted_attributes(pa.chunked_array([pa.array(texts, pa.string())]), {"model.name", "op"})

    expected = [{k: v for k, v in (each or {}).items() if k in ("model.name", "op")} for each in spans]
    assert [found[number] for number in which] == expected


@given(st.lists(st.text(st.sampled_from('{}":,a[]\\'), max_size=30)))
def test_text_that_is_no_json_is_no_obstacle(texts: list[str]) -> None:
    column = pa.chunked_array([pa.array(['{"op":' + text for text in texts], pa.string())])

    found, which = wanted_attributes(column, {"op"})

    assert len(which) == len(texts)
    assert found[0] == {}


def test_a_table_of_several_chunks_and_an_empty_one_are_mapped() -> None:
    parts = [pa.Table.from_pylist([a_span(name)], schema=schema_of(Span)) for name in ("a", "b", "a")]
    rules: Rules = (("queue", ("a",)),)

    assert map_stages(pa.concat_tables(parts), rules).column("stage").to_pylist() == ["queue", None, "queue"]
    assert map_stages(schema_of(Span).empty_table(), rules).num_rows == 0


def test_many_spans_are_mapped_quickly_even_when_no_two_attributes_are_alike() -> None:
    count = 200_000
    rows = {
        "name": np.array(["decode", "det.run", "nms", "GET /"])[np.arange(count) % 4],
        "kind": np.array(["internal", "internal", "internal", "server"])[np.arange(count) % 4],
        "attributes": [f'{{"harness.cpu_ns":{n},"model.name":"m{n % 3}"}}' for n in range(count)],
    }
    blank = {"string": "x", "int64": 1}
    table = pa.table(
        {f.name: rows.get(f.name, [blank[str(f.type)]] * count) for f in schema_of(Span)}, schema=schema_of(Span)
    )
    rules: Rules = (("preprocess", ("decode",)), ("inference", ("*.run", "attr:model.name=m9")))
    began = time.monotonic()

    stages = map_stages(table, rules).column("stage").to_pylist()

    assert time.monotonic() - began < 5
    assert stages[:4] == ["preprocess", "inference", None, None]
