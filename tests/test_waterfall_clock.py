"""clock.json: what is kept of the clock offsets of a run, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.clock import Bounds, ClockOffset, Piece, fit
from harness.conclude import conclude
from harness.errors import RunFolderError
from harness.model import Span
from harness.record import validated
from harness.run.written import stored_scenario
from harness.run_folder import RunFolder
from harness.waterfall import of_requests, read_clock, write_clock
from tests import simulated_queues as queues
from tests import stored_queues
from tests.builders import MS, T0

PLAIN: dict[str, Any] = {
    "offset_ns": 5, "bound_ns": 3, "same_host": False, "contradiction_ns": 0, "n": 10, "drift_ppm": 0.0, "pieces": [],
    "assumes": None,
}  # fmt: skip
PIECE: dict[str, Any] = {
    "from_ns": T0, "until_ns": T0 + MS, "offset_ns": 5, "drift_ppm": 1.0, "above": [[0.0, 3.0]], "below": [[0.0, 3.0]],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def put(folder: RunFolder, offset: dict[str, Any] | None) -> None:
    folder.write_json("clock.json", {"version": 1, "hosts": [{"host": "h", "offset": offset}]})


def test_a_drifting_clock_comes_back_to_the_last_digit(folder: RunFolder) -> None:
    at = T0 + np.arange(200) * 100 * MS
    ahead = 7 * MS + np.rint((at - T0) * 40e-6).astype(np.int64)
    random = np.random.default_rng(1)
    found = fit(Bounds(at, ahead - random.integers(1, MS, 200)), Bounds(at, ahead + random.integers(1, MS, 200)), False)
    assert found is not None
    assert found.pieces

    write_clock(folder, (("host", found), (None, None)))

    assert read_clock(folder) == (("host", found), (None, None))


def test_a_run_without_the_file_has_no_offsets(folder: RunFolder) -> None:
    assert read_clock(folder) is None


def test_a_plain_offset_can_be_written_by_hand(folder: RunFolder) -> None:
    put(folder, {**PLAIN, "pieces": [PIECE]})

    piece = Piece(T0, T0 + MS, 5, 1.0, ((0.0, 3.0),), ((0.0, 3.0),))
    assert read_clock(folder) == (("h", ClockOffset(5, 3, False, 0, 10, 0.0, (piece,))),)


@pytest.mark.parametrize(
    "changes",
    [
        {"offset_ns": 10**30},
        {"offset_ns": "5"},
        {"bound_ns": -1},
        {"drift_ppm": 1e300},
        {"drift_ppm": None},
        {"pieces": [{**PIECE, "above": [[1e300, 0.0]]}]},
        {"pieces": [{**PIECE, "from_ns": T0 + 2 * MS}]},
        {"pieces": [PIECE, {**PIECE, "from_ns": 1, "until_ns": 2}]},
        {"pieces": [{**PIECE, "until_ns": 2**63}]},
    ],
    ids=str,
)
def test_an_offset_that_cannot_be_is_refused_in_one_sentence(folder: RunFolder, changes: dict[str, Any]) -> None:
    put(folder, {**PLAIN, **changes})

    with pytest.raises(RunFolderError, match=r"clock\.json"):
        read_clock(folder)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\x00", b'{"version": 2, "hosts": []}', b"[" * 100_000, b'{"hosts": 1}']
)
def test_a_damaged_file_is_refused_in_one_sentence(folder: RunFolder, content: bytes) -> None:
    (folder.path / "clock.json").write_bytes(content)

    with pytest.raises(RunFolderError, match=r"clock\.json"):
        read_clock(folder)


def test_a_folder_by_that_name_is_refused(folder: RunFolder) -> None:
    (folder.path / "clock.json").mkdir()

    with pytest.raises(RunFolderError, match=r"clock\.json"):
        read_clock(folder)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(sorted(PLAIN)), VALUES), st.dictionaries(st.sampled_from(sorted(PIECE)), VALUES))
def test_whatever_the_file_holds_it_is_refused_or_can_be_used(
    folder: RunFolder, changes: dict[str, Any], piece: dict[str, Any]
) -> None:
    whole = {**PLAIN, "pieces": [{**PIECE, **piece}], **changes}
    (folder.path / "clock.json").write_text(json.dumps({"version": 1, "hosts": [{"host": None, "offset": whole}]}))
    try:
        found = read_clock(folder)
    except RunFolderError:
        return

    assert found is not None
    offset = found[0][1]
    assert offset is not None
    at = np.array([0, T0, 2**62], np.int64)
    assert len(offset.at(at)) == 3
    assert (offset.bound_at(at) >= 0).all()


def test_a_run_read_on_another_machine_keeps_the_clock_it_shared(tmp_path: Path) -> None:
    simulated = queues.simulate(40, 0.5, 3, settle=0)
    path = stored_queues.store(tmp_path / "run", simulated, loopback=False, host="0123456789ab")
    folder = RunFolder(path)
    spans = folder.read_table("spans", Span)
    told = pc.replace_substring(
        spans.column("attributes"), '{"harness.split"', '{"harness.host": "0123456789ab", "harness.split"'
    )
    folder.write_table("spans", spans.set_column(spans.schema.get_field_index("attributes"), "attributes", told))
    record = validated(folder.read_json("run.json"), folder.run_json)
    scenario = stored_scenario(record["plan"])

    ((host, offset),) = conclude(folder, scenario, record).ledger.offsets

    assert host == "0123456789ab"
    assert offset is not None
    assert offset.same_host
    (found,) = of_requests(folder, scenario, record, [3])
    assert not any(bar.uncertain_s for bar in found.bars)
