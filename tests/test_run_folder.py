from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.chunks import ChunkWriter, schema_of
from harness.errors import ExitCode, RunFolderError
from harness.model import ModelCall
from harness.run_folder import SCHEMA_VERSION, RunFolder

NOON = datetime(2026, 3, 4, 12, 0, 5, tzinfo=UTC)


def a_call(number: int) -> tuple[object, ...]:
    return (number, "detector", 0, 1_000 + number, 0.25, None, 4)


def a_run(parent: Path, name: str = "receipts", now: datetime = NOON) -> RunFolder:
    folder = RunFolder.create(parent, name, now)
    folder.write_json("run.json", {"schema_version": SCHEMA_VERSION})
    return folder


def write_chunks(folder: RunFolder, file: str, *numbers: int) -> Path:
    writer = ChunkWriter(folder.path / file, ModelCall)
    for number in numbers:
        writer.append(a_call(number))
    writer.close()
    return writer.path


def numbers_of(table: pa.Table) -> list[int]:
    found: list[int] = table.column("request_id").to_pylist()
    return found


# --- create ------------------------------------------------------------------------------------------------


def test_a_run_is_named_after_its_utc_time_and_scenario(tmp_path: Path) -> None:
    local = datetime(2026, 3, 4, 14, 0, 5, tzinfo=timezone(timedelta(hours=2)))

    folder = RunFolder.create(tmp_path / "not" / "there", "Read receipts!", local)

    assert folder.path == tmp_path / "not" / "there" / "20260304T120005Z-read-receipts"
    assert folder.path.is_dir()


def test_runs_of_the_same_second_are_numbered(tmp_path: Path) -> None:
    names = [RunFolder.create(tmp_path, "a", NOON).run_id for _ in range(3)]

    assert names == ["20260304T120005Z-a", "20260304T120005Z-a-2", "20260304T120005Z-a-3"]


@pytest.mark.parametrize("name", ["../../etc", "/etc/passwd", "..", "", "a/b", "\x00", "-rf", "日本"])
def test_a_scenario_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    folder = RunFolder.create(tmp_path, name, NOON)

    assert folder.path.resolve().parent == tmp_path.resolve()


@given(st.text(max_size=300))
def test_any_scenario_name_becomes_one_plain_folder_name(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    parent = tmp_path_factory.mktemp("runs")

    folder = RunFolder.create(parent, name, NOON)

    assert folder.path.parent == parent
    assert len(folder.path.name) <= 80
    assert not set(folder.path.name) & set("/\\ \n'\"")


def test_a_place_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")

    with pytest.raises(RunFolderError, match="runs cannot be written: ") as caught:
        RunFolder.create(tmp_path / "runs", "a", NOON)
    assert caught.value.hint == "choose another place with --out"
    assert caught.value.exit_code == ExitCode.USAGE


# --- open --------------------------------------------------------------------------------------------------


def test_a_run_is_opened_by_its_own_folder(tmp_path: Path) -> None:
    folder = a_run(tmp_path)

    assert RunFolder.open(folder.path) == folder


def test_the_folder_of_runs_stands_for_the_newest_run(tmp_path: Path) -> None:
    newest = a_run(tmp_path, "b", NOON + timedelta(days=1))
    a_run(tmp_path, "z", NOON)
    (tmp_path / "99999999T999999Z-no-run").mkdir()
    (tmp_path / "notes").mkdir()

    assert RunFolder.open(tmp_path) == newest


def test_of_two_runs_in_one_second_the_later_one_is_the_newest(tmp_path: Path) -> None:
    first, second = a_run(tmp_path), a_run(tmp_path)
    os.utime(first.path, ns=(1_000, 1_000))
    os.utime(second.path, ns=(2_000, 2_000))

    assert RunFolder.open(tmp_path) == second


def test_a_run_killed_before_it_wrote_run_json_can_be_opened(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "a", NOON)
    write_chunks(folder, "samples-0.arrows", 1)

    assert RunFolder.open(folder.path) == folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text("x"), "is not a folder"),
        (lambda path: path.mkdir(), "is not a run and holds none"),
    ],
)
def test_what_is_no_run_is_refused_with_a_hint(tmp_path: Path, make: object, message: str) -> None:
    make(tmp_path / "run")  # type: ignore[operator]

    with pytest.raises(RunFolderError, match=message) as caught:
        RunFolder.open(tmp_path / "run")
    assert "runs/" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"schema_version": 999}', "has schema version 999, this harness reads up to 1"),
        (b"{}", "has no schema_version"),
        (b"[]", "has no schema_version"),
        (b'{"schema_version": "1"}', "has no schema_version"),
        (b'{"schema_ver', "run.json cannot be read: "),
        (b"\xff\xfe", "run.json cannot be read: "),
        (b"[" * 100_000, "run.json cannot be read: "),
        (b"9" * 10_000, "run.json cannot be read: "),
    ],
)
def test_a_run_json_that_cannot_be_used_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    folder = a_run(tmp_path)
    folder.run_json.write_bytes(content)

    with pytest.raises(RunFolderError, match=message):
        RunFolder.open(folder.path)


def special(kind: str, path: Path) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo(path.with_name("a-pipe"))
        path.symlink_to("a-pipe")
    else:
        path.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "link to a device"])
def test_a_run_json_that_is_no_regular_file_is_refused_without_reading_it(tmp_path: Path, kind: str) -> None:
    folder = a_run(tmp_path)
    folder.run_json.unlink()
    special(kind, folder.run_json)

    with pytest.raises(RunFolderError, match=r"run\.json is not a regular file"):
        RunFolder.open(folder.path)


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "link to a device"])
def test_a_table_that_is_no_regular_file_is_refused_and_such_a_chunk_is_left_out(tmp_path: Path, kind: str) -> None:
    folder = a_run(tmp_path)
    write_chunks(folder, "samples-1.arrows", 1, 2)
    special(kind, folder.path / "samples-0.arrows")

    assert numbers_of(folder.read_table("samples", ModelCall)) == [1, 2]

    (folder.path / "samples.parquet").symlink_to("samples-0.arrows")
    with pytest.raises(RunFolderError, match=r"samples\.parquet is not a regular file"):
        folder.read_table("samples", ModelCall)


# --- JSON and text -----------------------------------------------------------------------------------------


def test_json_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    folder = a_run(tmp_path)
    content = {"text": "ü </script> \x00 \udc80", "none": None, "list": [1, 2.5, True]}

    folder.write_json("summary.json", content)

    assert folder.read_json("summary.json") == content
    assert "ü" in folder.summary_json.read_text()


def test_a_json_file_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = a_run(tmp_path)

    with pytest.raises(RunFolderError, match=r"summary\.json is missing"):
        folder.read_json("summary.json")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    folder = a_run(tmp_path)

    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.write_json("run.json", {"value": float("nan")})
    folder.path.joinpath("report.md").mkdir()
    with pytest.raises(RunFolderError, match=r"report\.md cannot be written"):
        folder.write_text("report.md", "# a report")

    assert folder.read_json("run.json") == {"schema_version": 1}
    assert sorted(p.name for p in folder.path.iterdir()) == ["report.md", "run.json"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    folder = a_run(tmp_path)
    code = (
        "import sys; from pathlib import Path; from harness.run_folder import RunFolder\n"
        "folder = RunFolder(Path(sys.argv[1]))\n"
        "while True: folder.write_json('live.json', {'numbers': list(range(5000))})\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(folder.path)]) as child:
        while not (folder.path / "live.json").exists():
            assert child.poll() is None
        for _ in range(200):
            assert len(folder.read_json("live.json")["numbers"]) == 5000
        child.kill()


FULL_DISK = """
import json, resource, sys
from pathlib import Path
from harness.errors import RunFolderError
from harness.run_folder import RunFolder
folder = RunFolder(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    if sys.argv[2] == "json":
        folder.write_json("big.json", ["x" * 100_000])
    else:
        import numpy as np, pyarrow as pa
        folder.write_table("big", pa.table({"n": np.random.default_rng(1).random(100_000)}))
except RunFolderError as error:
    print(json.dumps([error.message, error.hint]))
"""


@pytest.mark.parametrize("kind", ["json", "table"])
def test_a_full_disk_is_named_with_what_to_do(tmp_path: Path, kind: str) -> None:
    folder = a_run(tmp_path)

    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(folder.path), kind], capture_output=True, text=True, check=True
    )

    message, hint = json.loads(done.stdout)
    assert message.startswith(f"{folder.path}/big.")
    assert message.endswith(" cannot be written: file too large")
    assert hint == "free some disk space, or choose another place with --out"
    assert [p.name for p in folder.path.iterdir()] == ["run.json"]


# --- tables ------------------------------------------------------------------------------------------------


def test_a_run_that_was_killed_is_read_from_its_chunks(tmp_path: Path) -> None:
    folder = a_run(tmp_path)
    torn = write_chunks(folder, "samples-0.arrows", 1, 2)
    torn.write_bytes(torn.read_bytes() + b"\xff\xff\xff\xff\x40\x01\x00\x00half a batch")

    assert numbers_of(folder.read_table("samples", ModelCall)) == [1, 2]
    assert folder.read_table("spans", ModelCall).num_rows == 0


def test_columns_come_back_in_the_order_of_the_model_and_others_are_left_out(tmp_path: Path) -> None:
    folder = a_run(tmp_path)
    rows = [dict(zip(schema_of(ModelCall).names, a_call(1), strict=True))]
    shuffled = pa.Table.from_pylist(rows).append_column("extra", pa.array([1]))
    folder.write_table("model_calls", shuffled.select(list(reversed(shuffled.column_names))))

    table = folder.read_table("model_calls", ModelCall)

    assert table.schema == schema_of(ModelCall)
    assert tuple(table.to_pylist()[0].values()) == a_call(1)


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"n": [1]}),
        pa.table({name: ["text"] for name in schema_of(ModelCall).names}),
        pa.table({field.name: pa.array([None], field.type) for field in schema_of(ModelCall)}),
    ],
    ids=["columns are missing", "types differ", "nulls where none may be"],
)
def test_a_table_of_another_shape_is_refused(tmp_path: Path, table: pa.Table) -> None:
    folder = a_run(tmp_path)
    folder.write_table("model_calls", table)

    with pytest.raises(RunFolderError, match=r"the table 'model_calls' of .* cannot be read"):
        folder.read_table("model_calls", ModelCall)


def test_a_damaged_parquet_file_is_refused_or_read_but_never_a_crash(tmp_path: Path) -> None:
    folder = a_run(tmp_path)
    write_chunks(folder, "samples.arrows", *range(20))
    folder.seal(ModelCall, "samples")
    whole = folder.samples.read_bytes()
    refused = 0
    for position in range(0, len(whole), 7):
        folder.samples.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            folder.read_table("samples", ModelCall)
        except RunFolderError:
            refused += 1

    assert refused > 50
    folder.samples.write_bytes(whole[:100])
    with pytest.raises(RunFolderError, match="cannot be read"):
        folder.read_table("samples", ModelCall)
