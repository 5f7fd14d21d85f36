"""Call profiles of a run: sessions of pyinstrument, as it saves them, folded into flame graphs.

A session is JSON: samples of one thread, each a stack of frames and the seconds it stands for. A frame is written as
`function\\0file\\0line`, with attributes after \\1. The files come from the service under test, so that they are read
as anything from outside: bounded in size and depth, and a damaged one is left out and said.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.flames.fold import MOST_DEEP, Folded, graph
from harness.run_folder import RunFolder
from harness.views import Flame, FlameNode

FOLDER = "call_profiles"
MOST_BYTES = 32 * 1024 * 1024
MOST_FILES = 200
MOST_FRAMES = 200_000
"""Frames of all files together. Where there are more, calls further down count for who called them."""
MOST_FLAMES = 6
LEAST_OF_ONES_OWN = 0.01
"""Share of the time in frames outside of the Python installation from which on the frames of libraries are folded."""
_SYNTHETIC = ("[self]", "[await]", "[out-of-context]", "[root]")


@dataclass(frozen=True, slots=True, eq=False)
class _Session:
    """What is used of one file."""

    what: str
    records: tuple[tuple[tuple[str, ...], float], ...]
    started_in: tuple[str, ...]
    prefixes: tuple[str, ...]


class _Unusable(Exception):  # noqa: N818 - read as: this file is unusable
    pass


def call_profiles(folder: RunFolder) -> tuple[Flame, ...]:
    """A flame graph for each place that was profiled, the longest first; what could not be read is in the notes."""
    sessions, left_out = _read(folder.path / FOLDER)
    by_place: dict[str, list[_Session]] = {}
    for session in sessions:
        by_place.setdefault(session.what, []).append(session)
    budget = _Budget(MOST_FRAMES)
    flames = [_flame(what, group, budget) for what, group in by_place.items()]
    flames.sort(key=lambda flame: -flame.root.weight_s)
    note = _not_read([*left_out, *([f"{len(flames) - MOST_FLAMES} more places"] if flames[MOST_FLAMES:] else [])])
    if not flames:
        return (Flame("Call profile", 0, note, FlameNode("nothing", 0.0)),) if note else ()
    first = flames[0]
    noted = Flame(first.title, first.n, f"{first.note} {note}".strip(), first.root)
    return (noted, *flames[1:MOST_FLAMES])


def _not_read(left_out: Sequence[str]) -> str:
    if not left_out:
        return ""
    shown = "; ".join(left_out[:3])
    more = f"; and {len(left_out) - 3:,} more" if left_out[3:] else ""
    return f"Left out: {shown}{more}."


# --- reading -------------------------------------------------------------------------------------------------


def _read(folder: Path) -> tuple[list[_Session], list[str]]:
    """The sessions, and what was left out and why."""
    try:
        paths = sorted(path for path in folder.glob("*.pyisession") if path.is_file() and not path.is_symlink())
    except OSError as error:
        return [], [f"{FOLDER}: {(error.strerror or str(error)).lower()}"]
    sessions, left_out = [], []
    for path in paths[:MOST_FILES]:
        try:
            sessions.append(_session(path))
        except _Unusable as why:
            left_out.append(f"{path.name[:80]}: {why}")
    if paths[MOST_FILES:]:
        left_out.append(f"{len(paths) - MOST_FILES:,} files beyond the first {MOST_FILES}")
    return sessions, left_out


def _session(path: Path) -> _Session:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _Unusable((error.strerror or str(error)).lower()) from None
    if len(content) > MOST_BYTES:
        raise _Unusable(f"larger than {MOST_BYTES // 1024**2} MiB")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise _Unusable("no JSON") from None
    if not isinstance(found, dict) or not isinstance(found.get("frame_records"), list):
        raise _Unusable("no session of pyinstrument")
    records = tuple(_records(found["frame_records"]))
    if not records:
        raise _Unusable("it has no samples")
    what = found.get("target_description")
    return _Session(
        what=what[:400] if isinstance(what, str) and what else "a call profile",
        records=records,
        started_in=_texts(found.get("start_call_stack")),
        prefixes=tuple(p for p in _texts(found.get("sys_prefixes")) if p.strip("/\\")),
    )


def _records(found: list[Any]) -> Iterator[tuple[tuple[str, ...], float]]:
    for record in found:
        if not isinstance(record, list) or len(record) != 2 or not isinstance(record[0], list):
            raise _Unusable("a damaged sample")
        stack, seconds = record
        usable = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not usable or not math.isfinite(seconds) or not 0 <= seconds < 1e9 or not all(map(_is_text, stack)):
            raise _Unusable("a damaged sample")
        if stack and seconds > 0:
            yield tuple(stack), float(seconds)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _texts(found: object) -> tuple[str, ...]:
    return tuple(text for text in found if isinstance(text, str)) if isinstance(found, list) else ()


# --- folding -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Budget:
    left: int


def _flame(what: str, sessions: Sequence[_Session], budget: _Budget) -> Flame:
    root = Folded("all samples")
    stem = _stem(sessions)
    folds = _own_share(sessions) >= LEAST_OF_ONES_OWN
    for session in sessions:
        for stack, seconds in session.records:
            _add(root, stack[stem:] or stack[-1:], seconds, session.prefixes if folds else (), budget)
    samples = sum(len(session.records) for session in sessions)
    profiles = f"{len(sessions):,} call profiles" if len(sessions) > 1 else "One call profile"
    folded = " Calls inside libraries are folded into the one that was called." if folds else ""
    note = f"{profiles}, {samples:,} samples of one thread each; wall-clock time, waiting included.{folded}"
    whole = graph(root)
    if len(whole.children) == 1 and math.isclose(whole.children[0].weight_s, whole.weight_s):
        whole = whole.children[0]
    return Flame(what, samples, note, whole)


def _stem(sessions: Sequence[_Session]) -> int:
    """How many frames all stacks begin with that were open when the profiler was started; the last one is kept."""
    shared = [_identity(frame) for frame in sessions[0].started_in]
    for session in sessions:
        for stack, _ in session.records:
            kept = 0
            for mine, theirs in zip(shared, stack, strict=False):
                if mine != _identity(theirs):
                    break
                kept += 1
            del shared[kept:]
            if not shared:
                return 0
    return max(0, len(shared) - 1)


def _identity(frame: str) -> str:
    return frame.partition("\x01")[0]


def _own_share(sessions: Sequence[_Session]) -> float:
    """Share of the time in which a frame was open that belongs to no installed package."""
    whole = own = 0.0
    for session in sessions:
        stem = max(0, len(session.started_in) - 1)
        for stack, seconds in session.records:
            whole += seconds
            own += seconds if any(not _is_library(frame, session.prefixes) for frame in stack[stem:]) else 0.0
    return own / whole if whole else 0.0


def _is_library(frame: str, prefixes: tuple[str, ...]) -> bool:
    """Whether its file is part of the Python installation; what has no file is part of whoever called it."""
    if not prefixes:
        return False
    file = frame.split("\x00", 2)[1] if "\x00" in frame else ""
    return not file or file.startswith(("<", *prefixes))


def _add(root: Folded, stack: Sequence[str], seconds: float, prefixes: tuple[str, ...], budget: _Budget) -> None:
    """One sample. A library's calls of libraries count for the first of them."""
    here, depth, in_library = root, 0, False
    for frame in stack:
        identity = _identity(frame)
        if identity in _SYNTHETIC[:1] or identity == _SYNTHETIC[3]:
            continue
        library = bool(prefixes) and _is_library(identity, prefixes) and identity not in _SYNTHETIC
        if library and in_library:
            continue
        in_library = library
        if depth >= MOST_DEEP or (identity not in here.below and budget.left <= 0):
            break
        if identity not in here.below:
            budget.left -= 1
        here = _into(here, identity)
        depth += 1
    here.own_s += seconds


def _into(here: Folded, identity: str) -> Folded:
    function, _, rest = identity.partition("\x00")
    file, _, line = rest.partition("\x00")
    label = {"[await]": "waits (await)", "[out-of-context]": "waits (other tasks)"}.get(function, function)
    return here.child(identity, label[:200], where=f"{file[-300:]}:{line[:12]}" if file else None)
