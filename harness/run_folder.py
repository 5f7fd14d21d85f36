"""The run on disk: written as it goes, sealed at the end, read back even when it was never sealed.

While a run is on, its children append to chunk files (`samples*.arrows`, `spans*.arrows`). At the end each set becomes
one Parquet file. JSON, text and Parquet files appear whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.chunks import read_chunks, schema_of
from harness.errors import RunFolderError

SCHEMA_VERSION = 1
"""Of run.json and everything beside it: raised when an older harness could no longer read the folder."""

PART_ROWS = 1 << 19
"""Rows read at a time of a table that may be too large to hold."""

_WRITTEN_ROWS = 1 << 16
"""Rows written at a time: few enough to hold and to find one of them in, enough to compress and to skip."""

_STAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z-")
_NOT_A_RUN = "name a folder that `harness run` wrote, e.g. runs/20260131T120000Z-my-scenario, or runs/ for the newest"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder. Made by `create`, found by `open`."""

    path: Path

    @classmethod
    def create(cls, parent: Path, scenario_name: str, now: datetime | None = None) -> RunFolder:
        """Make `<parent>/<UTC time>-<scenario>/`; -2, -3, ... when that is there already."""
        started = (now or datetime.now(UTC)).astimezone(UTC)
        name = f"{started:%Y%m%dT%H%M%SZ}-{_slug(scenario_name)}"
        with _writing(parent):
            parent.mkdir(parents=True, exist_ok=True)
            for path in _numbered(parent / name):
                with contextlib.suppress(FileExistsError):
                    path.mkdir()
                    return cls(path)
        raise AssertionError("unreachable: the numbers do not end")

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A stored run; for a folder of runs, its newest. Raises RunFolderError."""
        try:
            folder = cls(_find_run(path))
        except OSError as error:
            raise RunFolderError(f"{path} cannot be read: {_reason(error)}", _NOT_A_RUN) from error
        if folder.run_json.exists():
            _check_version(folder.run_json, folder.read_json("run.json"))
        return folder

    @property
    def run_id(self) -> str:
        return self.path.resolve().name

    @property
    def run_json(self) -> Path:
        return self.path / "run.json"

    @property
    def summary_json(self) -> Path:
        return self.path / "summary.json"

    @property
    def samples(self) -> Path:
        return self.path / "samples.parquet"

    @property
    def spans(self) -> Path:
        return self.path / "spans.parquet"

    @property
    def ledger(self) -> Path:
        return self.path / "ledger.parquet"

    @property
    def model_calls(self) -> Path:
        return self.path / "model_calls.parquet"

    @property
    def waits(self) -> Path:
        return self.path / "waits.parquet"

    @property
    def vitals(self) -> Path:
        return self.path / "vitals.parquet"

    def chunks(self, name: str) -> list[Path]:
        """The chunk files of a table that are still there, in order; regular files only."""
        return sorted(path for path in self.path.glob(f"{name}*.arrows") if path.is_file())

    def write_json(self, name: str, content: object) -> Path:
        """Write one JSON file. NaN and infinities are a bug of the caller (ValueError)."""
        return self.write_text(name, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def write_text(self, name: str, text: str) -> Path:
        """Write one UTF-8 file."""
        # Half a surrogate pair (a file name that is no UTF-8) is written as its escape, which JSON understands.
        encoded = text.encode("utf-8", "backslashreplace")
        return self._replace(name, lambda file: file.write(encoded))

    def read_json(self, name: str) -> Any:
        """Read one JSON file. Raises RunFolderError when it is missing, no regular file or no JSON."""
        path = self.path / name
        try:
            _refuse_special(path)
            return json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise RunFolderError(f"{path} is missing", "the run may have been stopped before it was written") from error
        except (OSError, ValueError, RecursionError) as error:
            raise RunFolderError(f"{path} cannot be read: {_reason(error)}", "restore the file from a copy") from error

    def write_table(self, name: str, table: pa.Table) -> Path:
        """Write `<name>.parquet`, in row groups of which a single row can be read."""
        return self._replace(
            f"{name}.parquet",
            lambda file: pq.write_table(table, file, compression="zstd", row_group_size=_WRITTEN_ROWS),
        )

    def read_table(self, name: str, row_type: type) -> pa.Table:
        """A table as stored: from Parquet, else what a run that was killed left in its chunks, else empty."""
        path = self.path / f"{name}.parquet"
        with self._reading(name):
            if not path.exists():
                return _conformed(read_chunks(self.chunks(name), row_type), row_type)
            _refuse_special(path)
            with pq.ParquetFile(path) as file:
                return _conformed(file.read(), row_type)

    def parts(self, name: str, row_type: type, rows: int = PART_ROWS) -> Iterator[pa.Table]:
        """A table as `read_table` finds it, about `rows` rows at a time: for what is too large to be held."""
        path = self.path / f"{name}.parquet"
        if not path.exists():
            yield from self._parts(self.chunks(name), name, row_type, rows)
            return
        with self._reading(name):
            _refuse_special(path)
            with pq.ParquetFile(path) as file:
                for part in _gathered(file.iter_batches(batch_size=rows), rows):
                    yield _conformed(part, row_type)

    def seal(self, row_type: type, name: str, change: Callable[[pa.Table], pa.Table] = lambda part: part) -> int:
        """Turn the chunk files of a table into its Parquet file, a part at a time. Returns its number of rows.

        Rows stand in the order of the files, each part as `change` leaves it. May be called again; when it fails the
        chunks stay as they are.
        """
        chunks = self.chunks(name)
        path = self.path / f"{name}.parquet"
        # A Parquet file beside chunks is complete: the run was killed between writing it and removing them.
        if not path.exists():
            parts = map(change, self._parts(chunks, name, row_type, _WRITTEN_ROWS))
            self._replace(path.name, lambda file: _write_parts(file, parts, schema_of(row_type)))
        with self._reading(name):
            _refuse_special(path)
            with pq.ParquetFile(path) as file:
                rows = int(file.metadata.num_rows)
        with _writing(self.path):
            for chunk in chunks:
                chunk.unlink(missing_ok=True)
        return rows

    def _parts(self, chunks: list[Path], name: str, row_type: type, rows: int) -> Iterator[pa.Table]:
        """The rows of the chunk files in tables of about `rows`."""
        with self._reading(name):
            for part in _gathered(_batches(chunks), rows):
                yield _conformed(part, row_type)

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, KeyError, MemoryError, pa.ArrowException) as error:
            message = f"the table '{name}' of {self.path} cannot be read: {_reason(error)}"
            raise RunFolderError(
                message, "it was damaged or written by another version; run the scenario again"
            ) from error

    def _replace(self, name: str, write: Callable[[IO[bytes]], object]) -> Path:
        """Write a file beside its final name, then move it there: a reader never sees half of it."""
        path = self.path / name
        temporary = self.path / f".{name}.{os.getpid()}.tmp"
        with _writing(path):
            try:
                temporary.unlink(missing_ok=True)  # in a folder of somebody else it may be a link to anywhere
                with temporary.open("xb") as file:
                    write(file)
                os.replace(temporary, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise
        return path


def _slug(scenario_name: str) -> str:
    """A name that is one plain folder name, whatever was asked for."""
    return re.sub(r"[^a-z0-9._-]+", "-", scenario_name.lower())[:60].strip(".-_") or "run"


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.name}-{number}")
        number += 1


def _find_run(path: Path) -> Path:
    if not path.exists():
        raise RunFolderError(f"{path} does not exist", _NOT_A_RUN)
    if not path.is_dir():
        raise RunFolderError(f"{path} is not a folder", _NOT_A_RUN)
    if _is_run(path) or (path / "run.json").exists():  # one that is no file is refused by name when it is read
        return path
    runs = [child for child in path.iterdir() if _STAMP.match(child.name) and child.is_dir() and _is_run(child)]
    if not runs:
        raise RunFolderError(f"{path} is not a run and holds none", _NOT_A_RUN)
    return max(runs, key=lambda run: (run.name[:16], run.stat().st_mtime_ns))


def _is_run(path: Path) -> bool:
    # A run that was killed early has its chunks before anything else.
    return (path / "run.json").is_file() or any((path / name).is_file() for name in _samples(path))


def _samples(path: Path) -> list[str]:
    return [child.name for child in path.glob("samples*") if child.suffix in (".arrows", ".parquet")]


def _refuse_special(path: Path) -> None:
    """A pipe or a device, also behind a link, would keep the reader waiting for ever."""
    if path.exists() and not path.is_file():
        raise RunFolderError(f"{path} is not a regular file", "restore the file from a copy")


def _check_version(path: Path, content: Any) -> None:
    version = content.get("schema_version") if isinstance(content, Mapping) else None
    if not isinstance(version, int):
        raise RunFolderError(f"{path} has no schema_version", _NOT_A_RUN)
    if version > SCHEMA_VERSION:
        message = f"{path} has schema version {version}, this harness reads up to {SCHEMA_VERSION}"
        raise RunFolderError(message, "update the harness: `pip install --upgrade ml-harness`")


def _batches(chunks: list[Path]) -> Iterator[pa.RecordBatch]:
    """The complete record batches of chunk files, one after the other; a torn tail is left out."""
    for path in chunks:
        with path.open("rb") as file:
            try:
                with pa.ipc.open_stream(file) as stream:
                    while True:
                        yield stream.read_next_batch()
            except (StopIteration, pa.ArrowInvalid):
                continue
            except OSError as error:
                if error.errno:  # the disk failed, which is not the end of the file
                    raise


def _gathered(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Batches of any size as tables of about `rows` rows."""
    waiting: list[pa.RecordBatch] = []
    held = 0
    for batch in batches:
        waiting.append(batch)
        held += batch.num_rows
        if held >= rows:
            yield pa.Table.from_batches(waiting)
            waiting, held = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting)


def _write_parts(file: IO[bytes], parts: Iterator[pa.Table], schema: pa.Schema) -> None:
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for part in parts:
            writer.write_table(part)


def _conformed(table: pa.Table, row_type: type) -> pa.Table:
    """The columns of `row_type` in order, whatever else is there. Raises when one is missing or of another type."""
    schema = schema_of(row_type)
    table = table.select(schema.names).cast(schema)
    table.validate(full=True)  # a damaged file must not reach code that trusts offsets
    return table


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        hint = "free some disk space, or choose another place with --out" if full else "choose another place with --out"
        raise RunFolderError(f"{path} cannot be written: {_reason(error)}", hint) from error


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
