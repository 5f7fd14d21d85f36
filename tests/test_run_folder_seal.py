"""Chunks become one Parquet file: every complete row, in bounded memory, and never at the price of the chunks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.chunks import ChunkWriter, schema_of
from harness.errors import RunFolderError
from harness.model import ModelCall, Sample, Span
from tests.test_run_folder import a_call, a_run, numbers_of, write_chunks


def test_sealing_turns_all_chunks_into_one_parquet_file(tmp_path: Path) -> None:
    folder = a_run(tmp_path)
    write_chunks(folder, "samples-1.arrows", 3)
    write_chunks(folder, "samples-0.arrows", 1, 2)
    write_chunks(folder, "spans.arrows", 9)

    assert folder.seal(ModelCall, "samples") == 3

    assert numbers_of(folder.read_table("samples", ModelCall)) == [1, 2, 3]
    assert sorted(p.name for p in folder.path.iterdir()) == ["run.json", "samples.parquet", "spans.arrows"]
    assert pq.ParquetFile(folder.samples).metadata.row_group(0).column(0).compression == "ZSTD"


def test_sealing_again_changes_nothing(tmp_path: Path) -> None:
    folder = a_run(tmp_path)
    write_chunks(folder, "samples.arrows", 1, 2)
    folder.seal(ModelCall, "samples")
    before = folder.samples.read_bytes()

    assert folder.seal(ModelCall, "samples") == 2
    assert folder.samples.read_bytes() == before


def test_a_seal_interrupted_while_removing_chunks_is_finished_without_loss(tmp_path: Path) -> None:
    folder = a_run(tmp_path)
    write_chunks(folder, "samples-0.arrows", 1)
    left = write_chunks(folder, "samples-1.arrows", 2)
    kept = left.read_bytes()
    folder.seal(ModelCall, "samples")
    left.write_bytes(kept)  # as if the process had died just before this removal

    assert folder.seal(ModelCall, "samples") == 2
    assert numbers_of(folder.read_table("samples", ModelCall)) == [1, 2]
    assert not left.exists()


def test_small_batches_become_large_row_groups_in_the_order_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.run_folder._WRITTEN_ROWS", 4)
    folder = a_run(tmp_path)
    for worker in range(3):
        writer = ChunkWriter(folder.path / f"samples-{worker}.arrows", ModelCall)
        for second in range(3):
            writer.append(a_call(10 * worker + second))
            writer.flush()
        writer.close()

    assert folder.seal(ModelCall, "samples") == 9
    assert numbers_of(folder.read_table("samples", ModelCall)) == [0, 1, 2, 10, 11, 12, 20, 21, 22]
    groups = pq.ParquetFile(folder.samples).metadata
    assert [groups.row_group(at).num_rows for at in range(groups.num_row_groups)] == [4, 4, 1]


@given(st.lists(st.integers(0, 30), max_size=6), st.integers(1, 40))
def test_a_torn_file_costs_its_last_batch_and_nothing_of_the_others(
    tmp_path_factory: pytest.TempPathFactory, batches: list[int], cut: int
) -> None:
    folder = a_run(tmp_path_factory.mktemp("runs"))
    torn = ChunkWriter(folder.path / "samples-0.arrows", ModelCall)
    for at, size in enumerate(batches):
        for number in range(size):
            torn.append(a_call(100 * at + number))
        torn.flush()
    whole = torn.path.read_bytes()
    torn.close()
    torn.path.write_bytes(whole[:-cut])
    write_chunks(folder, "samples-1.arrows", 7, 8)
    expected = numbers_of(folder.read_table("samples", ModelCall))

    assert folder.seal(ModelCall, "samples") == len(expected)
    assert numbers_of(folder.read_table("samples", ModelCall)) == expected
    last = max((at for at, size in enumerate(batches) if size), default=0)
    assert expected == [100 * at + n for at, size in enumerate(batches[:last]) for n in range(size)] + [7, 8]


SEAL = """
import json, resource, sys
from pathlib import Path
from harness.errors import RunFolderError
from harness.model import ModelCall
from harness.run_folder import RunFolder
folder = RunFolder(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    folder.seal(ModelCall, "samples")
except RunFolderError as error:
    print(json.dumps([error.message, error.hint]))
"""


def test_a_disk_that_is_full_while_sealing_keeps_the_chunks(tmp_path: Path) -> None:
    folder = a_run(tmp_path)
    write_chunks(folder, "samples-0.arrows", *(7919 * number % 99_991 for number in range(20_000)))

    done = subprocess.run([sys.executable, "-c", SEAL, str(folder.path)], capture_output=True, text=True, check=True)

    message, hint = json.loads(done.stdout)
    assert message == f"{folder.samples} cannot be written: file too large"
    assert hint == "free some disk space, or choose another place with --out"
    assert done.stderr == ""
    assert sorted(p.name for p in folder.path.iterdir()) == ["run.json", "samples-0.arrows"]
    assert folder.seal(ModelCall, "samples") == 20_000  # with room again


@pytest.mark.parametrize("row_type", [Span, Sample])
def test_chunks_of_another_shape_are_refused_and_kept(tmp_path: Path, row_type: type) -> None:
    folder = a_run(tmp_path)
    chunk = write_chunks(folder, "samples-0.arrows", 1)

    with pytest.raises(RunFolderError, match=r"the table 'samples' of .* cannot be read"):
        folder.seal(row_type, "samples")
    assert chunk.exists()
    assert not folder.samples.exists()


def test_chunks_beside_a_damaged_parquet_file_are_kept(tmp_path: Path) -> None:
    folder = a_run(tmp_path)
    chunk = write_chunks(folder, "samples-0.arrows", 1)
    folder.samples.write_bytes(b"PAR1 and no more")

    with pytest.raises(RunFolderError, match=r"the table 'samples' of .* cannot be read"):
        folder.seal(ModelCall, "samples")
    assert chunk.exists()


PEAK = """
import sys
from pathlib import Path
import pyarrow as pa
from harness.chunks import schema_of
from harness.model import ModelCall
from harness.run_folder import RunFolder
folder, schema = RunFolder(Path(sys.argv[1])), schema_of(ModelCall)
text = ["%032x" % n for n in range(1000)]
columns = [range(1000), text, [0] * 1000, range(1000), [0.5] * 1000, text, [1] * 1000]
batch = pa.record_batch([pa.array(c, type=f.type) for c, f in zip(columns, schema)], schema=schema)
def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) / 1024
def sealed(name, thousands):
    with open(folder.path / f"{name}.arrows", "wb") as file, pa.ipc.new_stream(file, schema) as stream:
        for _ in range(thousands):
            stream.write_batch(batch)
    assert folder.seal(ModelCall, name) == 1000 * thousands
    return peak()
print(sealed("few", 200), sealed("many", 2000))
"""


def test_ten_times_the_rows_take_no_more_memory_to_seal(tmp_path: Path) -> None:
    folder = a_run(tmp_path)

    done = subprocess.run([sys.executable, "-c", PEAK, str(folder.path)], capture_output=True, text=True, check=True)

    few, many = map(float, done.stdout.split())
    assert many - few < 60, (few, many)  # MB; the rows themselves are 260 MB


def test_a_run_without_chunks_is_sealed_as_an_empty_table(tmp_path: Path) -> None:
    folder = a_run(tmp_path)

    folder.seal(ModelCall, "spans")

    assert pq.read_schema(folder.spans).equals(schema_of(ModelCall))
