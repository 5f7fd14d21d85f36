"""What passes between a master and its workers, each part on its own: merged lines, files, chunks, tokens."""

from __future__ import annotations

from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.chunks import ChunkWriter, read_chunks
from harness.errors import UsageError
from harness.load import trust
from harness.load.clocks import align, move
from harness.load.fetch import fetch
from harness.load.merged import merged_end, merged_progress
from harness.load.remote_chunks import UNTAKEN_BYTES, ChunkFile, ChunkSink
from harness.load.shipping import PIECE_BYTES, Shipped, files_of, parsed_list, placed, relocated, ship_list
from harness.model import BodySpec, Sample, TlsSpec, columns
from tests.load_support import a_request, a_scenario

# --- lines -------------------------------------------------------------------------------------------------


def progress(**fields: object) -> dict[str, object]:
    return {"kind": "progress", "elapsed_s": 1.0, "total_s": 4.0, "phase": "measure", "step": 0, **fields}


def test_progress_adds_counts_and_rates_and_keeps_the_worst_percentile() -> None:
    one = progress(sent=10, rate_per_s=10.0, p95_s=0.2, errors={"timeout": 1}, elapsed_s=1.5)
    two = progress(sent=20, rate_per_s=5.0, p95_s=0.4, errors={"timeout": 2, "status 500": 1}, step=1)

    merged = merged_progress([one, two])

    assert (merged["sent"], merged["rate_per_s"], merged["p95_s"]) == (30, 15.0, 0.4)
    assert merged["errors"] == {"timeout": 3, "status 500": 1}
    assert (merged["elapsed_s"], merged["total_s"], merged["step"]) == (1.5, 4.0, 1)


def test_a_worker_without_a_percentile_does_not_hide_the_others() -> None:
    assert merged_progress([progress(p95_s=None), progress(p95_s=0.3)])["p95_s"] == 0.3
    assert merged_progress([progress(p95_s=None), progress(p95_s=None)])["p95_s"] is None


def test_ends_span_all_workers_and_keep_their_readings_apart() -> None:
    line = {
        "kind": "end",
        "started_ns": 5,
        "ended_ns": 50,
        "interrupted": False,
        "sent": 3,
        "readings": [{"name": "cpu"}],
    }
    other = {**line, "started_ns": 4, "ended_ns": 60, "interrupted": True, "aborted": True}

    merged = merged_end({"0": line, "1": other})

    assert (merged["started_ns"], merged["ended_ns"], merged["sent"]) == (4, 60, 6)
    assert (merged["interrupted"], merged["aborted"]) == (True, True)
    assert merged["readings"] == [{"name": "cpu", "worker": "0"}, {"name": "cpu", "worker": "1"}]


# --- files -------------------------------------------------------------------------------------------------


def test_every_file_a_scenario_names_is_listed_with_the_code_beside_it(tmp_path: Path) -> None:
    for name in ("a.bin", "flow.py", "beside.py", "unrelated.txt", "ca.pem"):
        (tmp_path / name).write_text(name)
    body = a_request(body=BodySpec(body=(str(tmp_path / "a.bin"),)))
    scenario = a_scenario("http://h", body, users=f"{tmp_path}/flow.py:Flow")
    scenario = type(scenario)(**{f: getattr(scenario, f) for f in scenario.__slots__} | {
        "requests": (body,), "tls": TlsSpec(ca=str(tmp_path / "ca.pem"))})  # fmt: skip

    assert {Path(path).name for path in files_of(scenario)} == {"a.bin", "flow.py", "beside.py", "ca.pem"}


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    scenario = a_scenario("http://h", a_request(body=BodySpec(body=(str(tmp_path / "gone"),))))

    with pytest.raises(UsageError, match=r"cannot read .*gone: no such file"):
        ship_list(scenario)


def test_a_folder_is_used_in_place_only_when_all_of_it_is_the_same(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    for folder in (here, other):
        folder.mkdir()
        (folder / "a").write_text("a")
        (folder / "b").write_text("b")
    paths = tuple(str(folder / name) for folder in (here, other) for name in "ab")
    files = ship_list(a_scenario("http://h", a_request(body=BodySpec(body=paths))))
    (other / "b").write_text("B")

    wanted, at = placed(files, tmp_path / "new")

    assert [file.path for file in wanted] == [str(other / "a"), str(other / "b")]
    assert at[str(here / "a")] == str(here / "a")
    assert Path(at[str(other / "a")]).parent == tmp_path / "new" / "f1"


def test_files_arrive_in_pieces_and_the_scenario_points_to_them(tmp_path: Path) -> None:
    source = tmp_path / "large.bin"
    source.write_bytes(bytes(range(256)) * (PIECE_BYTES * 2 // 256) + b"rest")
    (tmp_path / "empty.bin").touch()
    body = BodySpec(body=(str(source), str(tmp_path / "empty.bin")))
    scenario = a_scenario("http://h", a_request(body=body))
    wanted, at = placed(ship_list(scenario), tmp_path / "new", look_here=False)
    asked: list[tuple[str, int]] = []

    def answer() -> dict[str, object]:
        path, offset = asked.pop(0)
        return {"path": path, "offset": offset, "piece": Path(path).read_bytes()[offset : offset + PIECE_BYTES]}

    fetch(wanted, at, lambda path, offset: asked.append((path, offset)), answer)

    large, empty = (Path(path) for path in relocated(scenario, at).requests[0].body.body)
    assert large.read_bytes() == source.read_bytes()
    assert (large.parent.parent, empty.read_bytes()) == (tmp_path / "new", b"")


def test_a_file_that_changed_on_the_way_is_refused(tmp_path: Path) -> None:
    wanted = [Shipped("/x/a", 1, "0" * 64)]

    with pytest.raises(UsageError, match="did not arrive as announced"):
        fetch(wanted, {"/x/a": str(tmp_path / "f0" / "a")}, lambda path, offset: None,
              lambda: {"path": "/x/a", "offset": 0, "piece": b"?"})  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [None, 5, [5], [["a"]], [["relative", 1, "x"]], [["/x/..", 1, "x"]], [["/x/", 1, "x"]], [["/x\0", 1, "x"]],
     [["/x", -1, "x"]], [["/x", 1 << 62, "x"]], [["/x", "1", "x"]]],
)  # fmt: skip
def test_a_list_of_files_that_cannot_be_kept_is_refused(content: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        parsed_list(content)


# --- chunks ------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=50), max_size=20), st.lists(st.integers(0, 30), max_size=8))
def test_what_a_worker_writes_arrives_once_and_in_order_whatever_is_lost(
    tmp_path_factory: pytest.TempPathFactory, writes: list[bytes], dropped: list[int]
) -> None:
    path = tmp_path_factory.mktemp("chunks") / "samples-0.arrows"
    file, sent = ChunkFile(path), 0

    def send(number: int, piece: bytes) -> None:
        nonlocal sent
        sent += 1
        if sent not in dropped:
            file.take(number, piece)

    sink = ChunkSink(send)
    for piece in writes:
        sink.write(piece)
        sink.flush()
    while sink.untaken_bytes:
        sink.send_again()
        sink.taken(file.next)
    file.close()

    assert path.read_bytes() == b"".join(writes)


def test_a_master_that_takes_nothing_does_not_make_the_worker_grow() -> None:
    sink = ChunkSink(lambda number, piece: None)
    for _ in range(UNTAKEN_BYTES >> 20):
        sink.write(bytes(1 << 20))
        sink.flush()

    with pytest.raises(OSError, match="the master does not take them"):
        sink.write(b"one more")
    assert sink.untaken_bytes == UNTAKEN_BYTES


@pytest.mark.parametrize(("number", "piece"), [(None, b"x"), ("0", b"x"), (0, "text"), (0, None), (7, b"x")])
def test_what_is_not_the_next_piece_is_not_written(tmp_path: Path, number: object, piece: object) -> None:
    file = ChunkFile(tmp_path / "samples-0.arrows")

    assert file.take(number, piece) == 0
    file.close()
    assert (tmp_path / "samples-0.arrows").read_bytes() == b""


# --- clocks ------------------------------------------------------------------------------------------------


def a_sample(**fields: object) -> tuple[object, ...]:
    hints = get_type_hints(Sample)
    blank = {int: 1_000_000_000, str: "x", bool: False}
    return tuple(fields.get(name, blank.get(hints[name])) for name in columns(Sample))


def chunks_of(path: Path, *rows: tuple[object, ...]) -> Path:
    writer = ChunkWriter(path, Sample)
    for row in rows:
        writer.append(row)
        writer.flush()
    writer.close()
    return path


def test_samples_of_a_clock_that_is_ahead_are_moved_back(tmp_path: Path) -> None:
    path = chunks_of(tmp_path / "samples-1.arrows", a_sample(send_ns=None), a_sample(send_ns=7_000_000_000))

    warnings = align(tmp_path, [{"worker": "1", "clock_offset_s": 0.25, "clock_bound_s": 0.001}])

    table = read_chunks([path], Sample)
    assert table.column("done_ns").to_pylist() == [750_000_000] * 2
    assert table.column("send_ns").to_pylist() == [None, 6_750_000_000]
    assert table.column("request_id").to_pylist() == [1_000_000_000] * 2
    assert "the clock of worker 1 is 250 ms, known to 1.00 ms, ahead of the master's" in warnings[0].message


@pytest.mark.parametrize(("offset_s", "bound_s"), [(0.0009, 0.001), (-0.001, 0.001), (None, None), (0.2, None)])
def test_an_offset_that_may_be_none_moves_nothing(
    tmp_path: Path, offset_s: float | None, bound_s: float | None
) -> None:
    path = chunks_of(tmp_path / "samples-1.arrows", a_sample())
    before = path.read_bytes()

    assert align(tmp_path, [{"worker": "1", "clock_offset_s": offset_s, "clock_bound_s": bound_s}]) == []
    assert path.read_bytes() == before


def test_a_torn_file_is_moved_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    path = chunks_of(tmp_path / "samples-0.arrows", a_sample(), a_sample())
    path.write_bytes(path.read_bytes()[:-200])

    move(path, 5)

    assert read_chunks([path], Sample).column("done_ns").to_pylist() == [1_000_000_005]


# --- tokens ------------------------------------------------------------------------------------------------


def test_a_proof_holds_for_its_token_role_nonces_and_identity_only() -> None:
    said = trust.proof("t", trust.WORKER, b"m", b"w", "id")

    assert trust.proves(said, "t", trust.WORKER, b"m", b"w", "id")
    for other in (
        ("u", trust.WORKER, b"m", b"w", "id"),
        ("t", trust.MASTER, b"m", b"w", "id"),
        ("t", trust.WORKER, b"mw", b"", "id"),
        ("t", trust.WORKER, b"m", b"w", "other"),
    ):
        assert not trust.proves(said, *other)


@pytest.mark.parametrize("given_proof", [None, "text", b"", 5, [b"x"]])
def test_what_is_no_proof_proves_nothing(given_proof: object) -> None:
    assert not trust.proves(given_proof, "t", trust.WORKER, b"m", b"w", "id")
