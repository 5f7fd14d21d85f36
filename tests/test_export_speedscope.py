"""speedscope's files: valid, balanced, and the times are those of the requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.export import speedscope
from harness.model import Span
from harness.views import Flame, FlameNode
from tests.builders import a_root, a_sample, a_span
from tests.export_support import HOSTILE, SPEEDSCOPE, store, two_in_a_batch, unbalanced


def made(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    jsonschema.validate(found, SPEEDSCOPE)
    for profile in found["profiles"]:
        assert profile["type"] == "sampled" or unbalanced(profile) == []
    return found


def told(found: dict[str, Any], number: int = 0) -> list[tuple[str, str, float]]:
    """(O or C, frame, ms) of a profile's events."""
    frames = found["shared"]["frames"]
    return [(one["type"], frames[one["frame"]]["name"], one["at"]) for one in found["profiles"][number]["events"]]


@pytest.mark.parametrize(
    "events",
    [
        [("O", 0, 0), ("O", 1, 1), ("C", 0, 2), ("C", 1, 3)],
        [("O", 0, 2), ("C", 0, 1)],
        [("O", 0, 0)],
        [("O", 0, 0), ("C", 0, 11)],
    ],
)
def test_the_validator_itself_sees_what_is_wrong(events: list[tuple[str, int, float]]) -> None:
    profile = {
        "startValue": 0, "endValue": 10,
        "events": [{"type": kind, "frame": frame, "at": at} for kind, frame, at in events],
    }  # fmt: skip

    assert unbalanced(profile)


def test_a_request_is_the_client_around_the_service(tmp_path: Path) -> None:
    folder = store(tmp_path / "run", [a_sample(0)], [a_root(10, 90), a_span("infer", 20, 80)])

    found = made(speedscope.render(folder, [0]))

    assert found["profiles"][0]["name"] == "request 0: read, 100.0 ms"
    assert told(found) == [
        ("O", "read", 0), ("O", "backlog", 0), ("C", "backlog", 1), ("O", "connect", 1), ("C", "connect", 3),
        ("O", "upload", 3), ("C", "upload", 10), ("O", "POST /v1/read", 10), ("O", "infer", 20), ("C", "infer", 80),
        ("C", "POST /v1/read", 90), ("O", "download", 90), ("C", "download", 100), ("C", "read", 100),
    ]  # fmt: skip


def test_parallel_work_stands_beside_the_request(tmp_path: Path) -> None:
    spans = [a_root(10, 90), a_span("one", 20, 50), a_span("other", 30, 60)]
    folder = store(tmp_path / "run", [a_sample(0)], spans)

    found = made(speedscope.render(folder, [0]))

    assert [profile["name"] for profile in found["profiles"]] == [
        "request 0: read, 100.0 ms", "request 0: read, 100.0 ms, beside that (2)",
    ]  # fmt: skip
    assert told(found, 1) == [("O", "other", 30), ("C", "other", 60)]


def test_without_a_server_half_the_rest_is_unsplit(tmp_path: Path) -> None:
    found = made(speedscope.render(store(tmp_path / "run", [a_sample(0)]), [0]))

    assert ("O", "unsplit", 3) in told(found)
    assert ("C", "unsplit", 100) in told(found)


def test_requests_come_in_the_order_asked_for_each_once(tmp_path: Path) -> None:
    folder = two_in_a_batch(tmp_path / "run")

    names = [profile["name"] for profile in made(speedscope.render(folder, [1, 0, 1, 77]))["profiles"]]

    assert names == ["request 1: read, 80.0 ms", "request 0: read, 100.0 ms"]


def test_a_flame_graph_is_its_paths_with_their_own_time(tmp_path: Path) -> None:
    below = (FlameNode("decode", 0.010), FlameNode("model", 0.030, where="/app/net.py:12"))
    flame = Flame("Typical requests", 50, "", FlameNode("request", 0.045, children=below))

    found = made(speedscope.render(store(tmp_path / "run", []), [], [flame]))

    (profile,) = found["profiles"]
    assert profile["name"] == "Typical requests (n = 50)"
    assert profile["samples"] == [[0], [0, 1], [0, 2]]
    assert profile["weights"] == pytest.approx([5, 10, 30])
    assert profile["endValue"] == pytest.approx(45)
    assert found["shared"]["frames"][2] == {"name": "model", "file": "/app/net.py", "line": 12}


def test_a_flame_graph_of_nothing_is_left_out(tmp_path: Path) -> None:
    found = made(speedscope.render(store(tmp_path / "run", []), [], [Flame("none", 0, "", FlameNode("all", 0.0))]))

    assert found["profiles"] == []


def test_hostile_names_are_text(tmp_path: Path) -> None:
    folder = store(tmp_path / "run", [a_sample(0, name=HOSTILE)], [a_root(10, 90), a_span(HOSTILE, 20, 30)])

    found = made(speedscope.render(folder, [0], [Flame(HOSTILE, 1, "", FlameNode(HOSTILE, 1.0, where=HOSTILE))]))

    assert HOSTILE in [frame["name"] for frame in found["shared"]["frames"]]


spans = st.lists(st.tuples(st.integers(-20, 120), st.integers(0, 60)), max_size=15)


@given(spans)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_spans_a_request_has_its_profiles_are_balanced(
    tmp_path_factory: pytest.TempPathFactory, found: list[tuple[int, int]]
) -> None:
    rows: list[Span] = [
        a_span("work", start, start + length, span_id=f"{number + 1:016x}")
        for number, (start, length) in enumerate(found)
    ]
    folder = store(tmp_path_factory.mktemp("any") / "run", [a_sample(0)], rows)

    profiles = made(speedscope.render(folder, [0]))["profiles"]

    inside = sum(1 for start, length in found if max(start, 0) < min(start + length, 100))
    opened = sum(event["type"] == "O" for profile in profiles for event in profile["events"])
    assert opened >= 1 + inside
