"""Recorded arrivals: files people write, the samples of earlier runs, and what is neither."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.chunks import ChunkWriter
from harness.errors import ScenarioError
from harness.model import Sample, columns
from harness.run_folder import RunFolder
from harness.scenario import replay_file
from harness.scenario.replay_file import Recorded, read_recording
from tests.builders import a_sample, at, samples_table


def read(folder: Path, text: str | bytes, speed: float = 1.0) -> Recorded:
    path = folder / "a.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_recording(path, speed)


def refusal(folder: Path, text: str | bytes) -> ScenarioError:
    with pytest.raises(ScenarioError) as caught:
        read(folder, text)
    return caught.value


def names_of(recorded: Recorded) -> list[str]:
    assert recorded.kind is not None
    return [recorded.names[kind] for kind in recorded.kind]


# --- files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "0\n0.5\n2\n",
        "at_s\n0\n0.5\n2",
        "10\r\n10.5\r\n12\r\n",
        "\ufeff# from the proxy's log\n\n 1e1 \n10.5\n  # a pause\n12\n",
        "2026-01-31T23:59:59Z\n2026-01-31T23:59:59.5Z\n2026-02-01T01:00:01+01:00\n",
        "2026-01-31 23:59:59\n2026-01-31T23:59:59.500\n2026-02-01 00:00:01\n",
        "1790000000\n1790000000.5\n1790000002\n",
        "2\n0\n0.5\n",
    ],
)
def test_instants_are_counted_from_the_first_one_however_they_are_written(tmp_path: Path, text: str) -> None:
    recorded = read(tmp_path, text)

    assert recorded.at_s.tolist() == [0.0, 0.5, 2.0]
    assert (recorded.at_s.dtype, recorded.names, recorded.kind) == (np.float64, (), None)


def test_names_stay_with_their_instants_when_lines_are_out_of_order(tmp_path: Path) -> None:
    recorded = read(tmp_path, 'at_s, name\n2, find\n0,read\n1,"GET /a,b"\n')

    assert recorded.at_s.tolist() == [0.0, 1.0, 2.0]
    assert names_of(recorded) == ["read", "GET /a,b", "find"]
    assert recorded.kind is not None
    assert recorded.kind.dtype == np.int16


def test_twice_the_speed_takes_half_the_time(tmp_path: Path) -> None:
    recorded = read(tmp_path, "0\n1\n2\n", speed=2.0)

    assert recorded.at_s.tolist() == [0.0, 0.5, 1.0]
    assert recorded.length_s == 1.5  # three arrivals stand for three gaps


def test_a_single_instant_lasts_a_second(tmp_path: Path) -> None:
    assert read(tmp_path, "7\n").length_s == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no arrival"),
        ("# nothing\n\n", "holds no arrival"),
        ("at_s,name\n", "holds no arrival"),
        ("soon\n", "a.csv:1: 'soon' is neither seconds nor a time stamp"),
        ("0\n\nnan\n", "a.csv:3: 'nan' is not a number of seconds like the first one"),
        ("0\ninf\n", "a.csv:2: 'inf' is not a number of seconds"),
        ("0\n2026-01-01T00:00:00Z\n", "a.csv:2: '2026-01-01T00:00:00Z' is not a number of seconds"),
        ("2026-01-01T00:00:00Z\n2026-01-01T00:00:00\n", "a.csv:2: '2026-01-01T00:00:00' is not a time stamp with its"),
        ("2026-01-01T00:00:00\n2026-01-01T00:00:00Z\n", "a.csv:2: '2026-01-01T00:00:00Z' is not a time stamp without"),
        ("0,read\n1\n", "a.csv:2: the first arrival has a name, this one has none"),
        ("0\n1,read\n", "a.csv:2: the first arrival has no name, this one has a"),
        ("0,read,200\n", "a.csv:1: this line has more than two columns"),
        ('0,"read\n', "a.csv:1: this line has more than two columns"),
        ("0\nat_s\n", "a.csv:2: 'at_s' is not a number of seconds"),
        ("0\n1e300\n", "has instants more than 1e+12 s apart"),
        ("0\n" + "1" * 2000, "a.csv:2: a line of more than 1000 characters"),
        (b"0\n\xff\xfe\n", "this is not UTF-8 text"),
        (b"\x00\x01\x02", "a.csv:1: '\\x00\\x01\\x02' is neither seconds"),
        ("".join(f"0,n{i}\n" for i in range(1001)), "has more than 1000 different names"),
    ],
)
def test_a_line_that_is_no_arrival_is_refused_by_its_number(tmp_path: Path, text: str | bytes, message: str) -> None:
    error = refusal(tmp_path, text)

    assert message in str(error)
    assert error.hint is not None


def test_a_recording_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_file, "MOST_ARRIVALS", 3)

    assert len(read(tmp_path, "0\n1\n2\n").at_s) == 3
    assert "has more than 3 arrivals" in str(refusal(tmp_path, "0\n1\n2\n3\n"))


@pytest.mark.parametrize("name", ["nowhere.csv", "/dev/zero"])
def test_what_is_no_file_is_refused_where_it_was_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ScenarioError, match=r"^x.yaml:8: the recording '.*' (does not exist|is not a regular file)$"):
        read_recording(tmp_path / name, 1.0, "x.yaml:8")


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.sampled_from(["a", "b c", 'd,"e"'])), min_size=1, max_size=30),
    st.sampled_from([0.5, 1.0, 2.0]),
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_back_in_order(tmp_path: Path, arrivals: list[tuple[float, str]], speed: float) -> None:
    lines = ['{!r},"{}"'.format(at_s, name.replace('"', '""')) for at_s, name in arrivals]

    recorded = read(tmp_path, "\n".join(lines), speed)

    expected = sorted(arrivals, key=lambda arrival: arrival[0])
    assert recorded.at_s.tolist() == [(at_s - expected[0][0]) / speed for at_s, _ in expected]
    assert names_of(recorded) == [name for _, name in expected]


@given(st.binary(max_size=200) | st.text('0123456789.,eE-+:TZ\n"# ', max_size=100).map(str.encode))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    try:
        recorded = read(tmp_path, content)
    except ScenarioError:
        return

    assert recorded.at_s[0] == 0.0
    assert (np.diff(recorded.at_s) >= 0).all()
    assert recorded.kind is None or len(recorded.kind) == len(recorded.at_s)


def test_a_long_file_is_read_as_it_streams_by(tmp_path: Path) -> None:
    text = "".join(f"{i / 1000:.3f},read\n" for i in range(30_000))

    tracemalloc.start()
    try:
        read(tmp_path, text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 1.5e6  # 10 bytes an arrival are kept, and copied while they are sorted out


# --- runs --------------------------------------------------------------------------------------------------

SAMPLES = [
    a_sample(2, scheduled_ns=at(2000), name="find"),
    a_sample(0, scheduled_ns=at(500), phase="warmup"),
    a_sample(1, scheduled_ns=at(1500)),
]


def test_a_run_is_replayed_with_its_warmup_and_its_names(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_table("samples", samples_table(*SAMPLES))

    recorded = read_recording(tmp_path)

    assert recorded.at_s.tolist() == [0.0, 1.0, 1.5]
    assert names_of(recorded) == ["read", "read", "find"]


def test_a_run_that_was_killed_is_replayed_up_to_where_it_was_written(tmp_path: Path) -> None:
    for worker, samples in enumerate((SAMPLES[:2], SAMPLES[2:])):
        writer = ChunkWriter(tmp_path / f"samples-{worker}.arrows", Sample)
        for sample in samples:
            writer.append(tuple(getattr(sample, name) for name in columns(Sample)))
            writer.flush()
        writer.close()
    torn = tmp_path / "samples-0.arrows"
    torn.write_bytes(torn.read_bytes()[:-400])  # the end mark, and the end of the second sample

    assert names_of(read_recording(tmp_path)) == ["read", "find"]


def test_a_folder_without_samples_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="is a folder without samples"):
        read_recording(tmp_path)


def test_a_run_without_a_sample_cannot_be_replayed(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_table("samples", samples_table())

    with pytest.raises(ScenarioError, match="holds no arrival"):
        read_recording(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_a_damaged_table_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "samples.parquet").write_bytes(content)

    with pytest.raises(ScenarioError, match="cannot be read"):
        read_recording(tmp_path)


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_table("samples", samples_table(*SAMPLES).drop_columns(["name"]))

    with pytest.raises(ScenarioError, match="cannot be read"):
        read_recording(tmp_path)
