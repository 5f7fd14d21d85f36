"""What comparisons find, as JSON: the committed schemas, the same bytes each time, and back again."""

from __future__ import annotations

import dataclasses
import json
import math
import os

import jsonschema
import pytest
from ci_builders import (
    a_baseline,
    a_calibration,
    a_comparison,
    a_history,
    a_hostile_ab,
    a_metric,
    an_ab,
    every_judged,
)
from report_hostile import ALL
from test_report_formats import GOLDEN, same_as_golden

from harness.comparison import AbFindings, CalibrationFindings, Histories
from harness.errors import RunFolderError
from harness.report import json_findings
from harness.report.schema import TITLES, schema_file, schemas


def some_histories() -> Histories:
    return Histories((a_history(), a_history(scenario="detect", rows=())), (("run-4", "it has no run.json"),))


KINDS = {"ab": an_ab, "compare": a_comparison, "calibration": a_calibration, "baseline": a_baseline,
         "history": some_histories}  # fmt: skip


def checker(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(schema_file(name).read_text()))


@pytest.mark.parametrize("name", TITLES)
def test_the_committed_schema_is_the_one_of_the_dataclasses(name: str) -> None:
    same_as_golden(os.path.relpath(schema_file(name), GOLDEN), schemas()[name])


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_of_findings_obeys_its_schema(name: str) -> None:
    checker(name).validate(json.loads(json_findings.render_findings(KINDS[name]())))


def test_a_schema_refuses_a_missing_verdict_and_a_text_for_a_number() -> None:
    good = json.loads(json_findings.render_findings(an_ab()))

    assert not checker("ab").is_valid({k: v for k, v in good.items() if k != "verdict"})
    assert not checker("ab").is_valid({**good, "allowed": "5%"})
    assert not checker("ab").is_valid({**good, "verdict": "fine"})


@pytest.mark.parametrize(
    "found",
    [*every_judged(), a_comparison(), a_history(), a_history(rows=(), changes=()), some_histories(), Histories(())],
    ids=lambda f: type(f).__name__,
)
def test_the_same_findings_are_the_same_bytes_and_come_back(found: object) -> None:
    text = json_findings.render_findings(found)

    assert text == json_findings.render_findings(dataclasses.replace(found))
    assert json_findings.parse_findings(type(found), text) == found


@pytest.mark.parametrize("text", ALL, ids=lambda t: ascii(t[:12]))
def test_any_text_can_be_encoded_and_comes_back(text: str) -> None:
    made = json_findings.render_findings(a_hostile_ab(text))

    assert json_findings.parse_findings(AbFindings, made) == a_hostile_ab(text)
    made.encode()


def test_figures_that_are_not_finite_are_null() -> None:
    text = json_findings.render_findings(an_ab(metrics=(a_metric("p99", b=math.inf, at_most=math.nan),)))

    found = json.loads(text)["metrics"][0]
    assert (found["b"], found["at_most"]) == (None, None)


def test_pairs_of_a_name_and_a_value_are_an_object_and_other_pairs_a_list() -> None:
    made = json.loads(json_findings.render_findings(a_calibration()))

    assert made["pairs"][0]["a"]["values"] == {"p50": 0.1, "p95": 0.2}
    assert made["noise"][0]["detectable"] == [[5, 1.09], [9, 1.06]]
    assert made["environment"] == {"python": "3.11.2", "cpu": "2 cores"}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"pairs": 3}', "NaN", "[" * 9999])
def test_anything_else_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(RunFolderError, match="this is no CalibrationFindings of this version") as refused:
        json_findings.parse_findings(CalibrationFindings, text)

    assert "\n" not in refused.value.message
    assert refused.value.hint
