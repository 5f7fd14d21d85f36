"""The files a scenario needs, for workers on machines that do not have them. Pure of Locust.

The master lists them with size and digest. The worker uses a folder of its own where all the listed files of it are
the same, and otherwise gets them, piece by piece, into a temporary folder; the scenario's paths are rewritten to it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.model import BodySpec, Expect, RequestSpec, Scenario, TlsSpec
from harness.units import format_bytes

PIECE_BYTES = 1 << 20
LIMIT_BYTES = 2 << 30
LIMIT_FILES = 20_000
_BLOCK = 1 << 20

Move = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Shipped:
    """A file as the master announces it; `path` is absolute there."""

    path: str
    size: int
    sha256: str


def ship_list(scenario: Scenario) -> list[Shipped]:
    """All files the scenario needs. Raises UsageError when they are too many or too large to be sent around."""
    paths = sorted(files_of(scenario))
    total = sum(_size(path) for path in paths)
    if total > LIMIT_BYTES or len(paths) > LIMIT_FILES:
        raise UsageError(
            f"the scenario needs {len(paths):,} files of {format_bytes(total)}: too much to send to the workers",
            f"at most {LIMIT_FILES:,} files of {format_bytes(LIMIT_BYTES)}; use a smaller payload set, or --processes",
        )
    return [Shipped(path, _size(path), digest(path)) for path in paths]


def files_of(scenario: Scenario) -> set[str]:
    """Absolute paths: the files a scenario names, Python files beside its code, the samples of a replay folder."""
    found: set[str] = set()

    def note(path: str) -> str:
        found.update(_with_company(os.path.abspath(path)))
        return path

    moved(scenario, note)
    return found


def _with_company(path: str) -> Iterable[str]:
    """Code may import what lies beside it; of a run folder its samples are replayed."""
    if path.endswith(".py"):
        return {path, *map(str, Path(path).parent.glob("*.py"))}
    if os.path.isdir(path):
        return {str(child) for child in Path(path).iterdir() if child.name.startswith("samples") or _is_record(child)}
    return {path}


def _is_record(path: Path) -> bool:
    return path.name == "run.json"


def moved(scenario: Scenario, move: Move) -> Scenario:
    """The scenario with each path replaced by `move(path)`."""
    load = scenario.load
    if load.replay is not None:
        load = replace(load, replay=replace(load.replay, path=move(load.replay.path)))
    return replace(
        scenario,
        requests=tuple(_moved_request(request, move) for request in scenario.requests),
        users=_moved_code(scenario.users, move),
        load=load,
        tls=_moved_tls(scenario.tls, move),
    )


def _moved_request(request: RequestSpec, move: Move) -> RequestSpec:
    return replace(request, body=_moved_body(request.body, move), expect=_moved_expect(request.expect, move))


def _moved_body(body: BodySpec, move: Move) -> BodySpec:
    files = tuple((field, tuple(move(path) for path in paths)) for field, paths in body.files)
    return replace(
        body, body=tuple(move(path) for path in body.body), files=files, python=_moved_code(body.python, move)
    )


def _moved_expect(expect: Expect, move: Move) -> Expect:
    return replace(expect, python=_moved_code(expect.python, move))


def _moved_tls(tls: TlsSpec, move: Move) -> TlsSpec:
    ca, cert, key = (None if path is None else move(path) for path in (tls.ca, tls.cert, tls.key))
    return replace(tls, ca=ca, cert=cert, key=key)


def _moved_code(named: str | None, move: Move) -> str | None:
    if named is None:
        return None
    path, colon, name = named.rpartition(":")
    return f"{move(path)}{colon}{name}"


# --- at the worker -----------------------------------------------------------------------------------------


def parsed_list(content: object) -> list[Shipped]:
    """The list as it arrived. Raises ValueError when it is not one, or names a file that cannot be kept."""
    if not isinstance(content, list) or len(content) > LIMIT_FILES:
        raise ValueError("no list of files")
    files = [_parsed(item) for item in content]
    if sum(file.size for file in files) > LIMIT_BYTES:
        raise ValueError("the files are too large")
    return files


def _parsed(item: Any) -> Shipped:
    path, size, sha256 = item
    if not (isinstance(path, str) and isinstance(size, int) and isinstance(sha256, str)):
        raise ValueError("not a file")
    name = os.path.basename(path)
    if size < 0 or not os.path.isabs(path) or name in ("", ".", "..") or "\0" in path:
        raise ValueError(f"{path!r} is no file that can be kept")
    return Shipped(path, size, sha256)


def placed(files: Sequence[Shipped], folder: Path, look_here: bool = True) -> tuple[list[Shipped], dict[str, str]]:
    """Which files have to be fetched, and where each file is to be: by its path at the master.

    A folder is used as it is only when all the listed files of it are there and the same (`look_here`).
    """
    wanted: list[Shipped] = []
    at: dict[str, str] = {}
    by_folder: dict[str, list[Shipped]] = {}
    for file in files:
        by_folder.setdefault(os.path.dirname(file.path), []).append(file)
    for number, (own, members) in enumerate(by_folder.items()):
        if look_here and all(_is_here(file) for file in members):
            at.update((file.path, file.path) for file in members)
            continue
        new = folder / f"f{number}"
        at[own] = str(new)
        at.update((file.path, str(new / os.path.basename(file.path))) for file in members)
        wanted += members
    return wanted, at


def relocated(scenario: Scenario, at: Mapping[str, str]) -> Scenario:
    """The scenario with its files where `placed` put them."""
    return moved(scenario, lambda path: at.get(os.path.abspath(path), path))


def _is_here(file: Shipped) -> bool:
    try:
        return os.path.getsize(file.path) == file.size and digest(file.path) == file.sha256
    except (OSError, UsageError):
        return False


def digest(path: str) -> str:
    """SHA-256 of a file, in hex. Raises UsageError when it cannot be read."""
    found = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                found.update(block)
    except OSError as error:
        raise _unreadable(path, error) from None
    return found.hexdigest()


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: OSError) -> UsageError:
    return UsageError(f"cannot read {path}: {(error.strerror or str(error)).lower()}", "check the path")
