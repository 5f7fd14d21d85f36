"""Recorded arrivals: the samples of a run folder, or a file of instants. Read when checked, and again when sent.

A file has one arrival a line: seconds, or a time stamp (ISO 8601), then perhaps a comma and the name of the request.
`at_s,name` may head it; empty lines and those that start with # are passed over.
"""

from __future__ import annotations

import contextlib
import csv
import math
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.errors import ScenarioError
from harness.units import format_count, quoted

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ARRIVALS = 10_000_000
MOST_NAMES = 1000
LONGEST_LINE = 1000
LONGEST_S = 1e12
"""Between the first instant of a recording and its last: beyond it the file holds something else than instants."""

_SHAPE = "write one arrival a line: seconds or a time stamp, then perhaps a comma and the request's name"
_RUN_HINT = "name a folder that `harness run` wrote, or a file with one arrival a line"
_HEADERS = ("at_s", "at_s,name")
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """Arrivals as they were: `at_s` seconds after the first one, float64, never decreasing.

    `kind` is the index of each one's name in `names`; None when the recording has no names.
    """

    at_s: NDArray[np.float64]
    names: tuple[str, ...] = ()
    kind: NDArray[np.int16] | None = None

    @property
    def length_s(self) -> float:
        """Length of the recording: n arrivals stand for n gaps, so the last one is followed by a mean gap."""
        count, last_s = len(self.at_s), float(self.at_s[-1])
        return last_s * (count / (count - 1)) if last_s > 0 else 1.0


class _Unusable(Exception):  # noqa: N818 - reads as the condition it reports
    """The recording as a whole, or the line `number` of it, is not as it should be."""

    def __init__(self, message: str, hint: str = _SHAPE, number: int | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.number = number


def read_recording(path: str | Path, speed: float = 1.0, where: str | None = None) -> Recorded:
    """The arrivals of a run folder or a file, replayed `speed` times as fast.

    Raises ScenarioError, which names the line of a file; `where` is named when the recording as a whole is refused.
    """
    source = Path(path)
    try:
        return _read(source, speed)
    except _Unusable as wrong:
        if wrong.number is not None:
            raise ScenarioError(str(wrong), wrong.hint, f"{source}:{wrong.number}") from None
        raise ScenarioError(f"the recording {quoted(source, 200)} {wrong}", wrong.hint, where) from None
    except OSError as error:
        reason = (error.strerror or str(error).partition("\n")[0]).lower()
        message = f"the recording {quoted(source, 200)} cannot be read: {reason}"
        raise ScenarioError(message, _RUN_HINT, where) from None


def _read(source: Path, speed: float) -> Recorded:
    at_s, names, kind = _from_run(source) if source.is_dir() else _from_file(source)
    if len(at_s) == 0:
        raise _Unusable("holds no arrival", _RUN_HINT)
    if (np.diff(at_s) < 0).any():
        order = np.argsort(at_s, kind="stable")
        at_s, kind = at_s[order], kind if kind is None else kind[order]
    at_s -= at_s[0]
    if at_s[-1] > LONGEST_S:
        raise _Unusable(f"has instants more than {LONGEST_S:g} s apart")
    at_s /= speed
    return Recorded(at_s, names, kind)


_Arrivals = tuple[NDArray[np.float64], tuple[str, ...], NDArray[np.int16] | None]


def _number(name: str, numbers: dict[str, int]) -> int:
    """Names are numbered as they come."""
    number = numbers.setdefault(name, len(numbers))
    if number >= MOST_NAMES:
        hint = "the second column is for the names of requests in the scenario"
        raise _Unusable(f"has more than {MOST_NAMES} different names", hint)
    return number


# --- a file ------------------------------------------------------------------------------------------------


def _from_file(path: Path) -> _Arrivals:
    if not path.is_file():
        raise _Unusable("is not a regular file" if path.exists() else "does not exist", _RUN_HINT)
    instants, kinds = array("d"), array("h")
    names: dict[str, int] = {}
    parse: Callable[[str], float] | None = None
    named = False
    for number, text in _lines(path):
        instant, comma, rest = text.partition(",")
        try:
            name = _name(rest.strip()) if comma else ""
            if parse is None:
                parse, named = _reader_of(instant), bool(name)
            instants.append(_instant(instant, parse))
            if bool(name) != named:
                raise _Unreadable(
                    f"the first arrival has {'a' if named else 'no'} name, this one has {'a' if name else 'none'}"
                )
            if name:
                kinds.append(_number(name, names))
        except _Unreadable as wrong:
            raise _Unusable(str(wrong), number=number) from None
        _bound(len(instants))
    kind = np.frombuffer(kinds, dtype=np.int16) if kinds else None
    return np.array(instants, dtype=np.float64), tuple(names), kind


class _Unreadable(ValueError):  # noqa: N818 - reads as the condition it reports
    """One line is not as it should be."""


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of the lines that hold an arrival. A line is read up to a bound: a file may have only one."""
    number, begun = 0, False
    with path.open(encoding="utf-8-sig") as file:
        try:
            while line := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise _Unusable(f"a line of more than {LONGEST_LINE} characters", number=number)
                text = line.strip()
                if not text or text[0] == "#":
                    continue
                if begun or text.replace(" ", "") not in _HEADERS:
                    yield number, text
                begun = True
        except UnicodeDecodeError:
            raise _Unusable("this is not UTF-8 text", number=number + 1) from None


def _reader_of(text: str) -> Callable[[str], float]:
    """What reads the first instant reads them all."""
    for reader in (_seconds, _zoned, _unzoned):
        with contextlib.suppress(ValueError, OverflowError):
            reader(text.strip())
            return reader
    raise _Unreadable(f"{quoted(text, 40)} is neither seconds nor a time stamp")


def _instant(text: str, parse: Callable[[str], float]) -> float:
    try:
        return parse(text.strip())
    except (ValueError, OverflowError):
        raise _Unreadable(f"{quoted(text, 40)} is not {parse.__doc__} like the first one") from None


def _seconds(text: str) -> float:
    """a number of seconds"""
    seconds = float(text)
    if not math.isfinite(seconds):
        raise ValueError
    return seconds


def _zoned(text: str) -> float:
    """a time stamp with its zone"""
    stamp = datetime.fromisoformat(text)
    if stamp.tzinfo is None:
        raise ValueError
    return stamp.timestamp()


def _unzoned(text: str) -> float:
    """a time stamp without a zone"""
    stamp = datetime.fromisoformat(text)
    if stamp.tzinfo is not None:
        raise ValueError
    return (stamp - _EPOCH).total_seconds()


def _name(text: str) -> str:
    """The name of the second column, its quotes taken off; empty when there is none."""
    if '"' not in text and "," not in text:
        return text
    try:
        name, *more = next(csv.reader([text], strict=True))
    except (csv.Error, StopIteration):
        more = [text]
    if more:
        raise _Unreadable("this line has more than two columns (a name with a comma needs quotes)")
    return name.strip()


# --- a run -------------------------------------------------------------------------------------------------


def _from_run(folder: Path) -> _Arrivals:
    import pyarrow as pa

    names: dict[str, int] = {}
    instants, kinds = array("q"), array("h")
    try:
        for batch in _batches(folder):
            _bound(len(instants) + batch.num_rows)
            batch.validate(full=True)
            at, name = batch.column("scheduled_ns"), batch.column("name")
            if at.null_count or name.null_count or at.type != pa.int64():
                raise ValueError("a sample has no instant or no name")
            instants.frombytes(np.ascontiguousarray(at.to_numpy()).tobytes())
            coded = name.cast(pa.string()).dictionary_encode()
            numbers = np.array([_number(n, names) for n in coded.dictionary.to_pylist()], dtype=np.int16)
            kinds.frombytes(numbers[coded.indices.to_numpy()].tobytes())
    except (pa.ArrowException, ValueError, KeyError, IndexError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise _Unusable(f"has samples that cannot be read: {reason}", _RUN_HINT) from None
    at_ns = np.frombuffer(instants, dtype=np.int64) if instants else np.empty(0, dtype=np.int64)
    at_s = (at_ns - (at_ns.min() if instants else 0)).astype(np.float64)
    at_s /= 1e9
    return at_s, tuple(names), np.frombuffer(kinds, dtype=np.int16) if kinds else None


def _batches(folder: Path) -> Iterator[pa.RecordBatch]:
    """Instants and names from the Parquet file of the samples; of a run that was killed, from its chunks."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = ["scheduled_ns", "name"]
    sealed = folder / "samples.parquet"
    if sealed.is_file():
        with pq.ParquetFile(sealed) as file:
            yield from file.iter_batches(columns=columns)
        return
    chunks = sorted(path for path in folder.glob("samples*.arrows") if path.is_file())
    if not chunks:
        raise _Unusable("is a folder without samples", _RUN_HINT)
    for chunk in chunks:
        with (
            chunk.open("rb") as file,
            contextlib.suppress(pa.ArrowInvalid, OSError),
            pa.ipc.open_stream(file) as stream,
        ):
            for batch in stream:  # up to what was torn when the run was killed
                yield batch.select(columns)


def _bound(count: int) -> None:
    if count > MOST_ARRIVALS:
        raise _Unusable(f"has more than {format_count(MOST_ARRIVALS)} arrivals", "replay a part of it")
