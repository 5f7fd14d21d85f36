"""clock.json: how far the clock of each server host was ahead of ours, so that one request can be placed alone.

The offset of a host follows from all requests of a run. Floats are written with all their digits.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from harness.clock import ClockOffset, Piece
from harness.errors import RunFolderError
from harness.run_folder import RunFolder
from harness.windows import Offsets

NAME = "clock.json"
_VERSION = 1
_LARGEST_FILE = 16 << 20
_MOST_HOSTS, _MOST_PIECES, _MOST_LINES = 10_000, 10_000, 1_000
_FARTHEST_NS = 2**61
_FARTHEST_PPM = 1e5
_HINT = "was it edited by hand? `harness report` of the run writes it again"


@dataclass(frozen=True, slots=True)
class _Host:
    host: str | None
    offset: ClockOffset | None


@dataclass(frozen=True, slots=True)
class _Stored:
    version: Annotated[int, Field(strict=True, ge=1, le=_VERSION)]
    hosts: Annotated[tuple[_Host, ...], Field(max_length=_MOST_HOSTS)]


_STORED = TypeAdapter(_Stored)


def write_clock(folder: RunFolder, offsets: Offsets) -> Path:
    """Keep the offsets of a run's ledger in its folder. Raises RunFolderError."""
    hosts = [
        {"host": host, "offset": None if offset is None else dataclasses.asdict(offset)} for host, offset in offsets
    ]
    text = json.dumps({"version": _VERSION, "hosts": hosts}, ensure_ascii=False, allow_nan=False)
    return folder.write_text(NAME, text + "\n")


def read_clock(folder: RunFolder) -> Offsets | None:
    """What `write_clock` kept; None when nothing was. Raises RunFolderError for a file that cannot be right."""
    path = folder.path / NAME
    if not path.exists():
        return None
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            raise RunFolderError(f"{path} is not a clock file", _HINT)
        stored = _STORED.validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])[:80]
        reason = error.errors()[0]["msg"][:200]
        raise RunFolderError(f"{path} cannot be read: {where + ': ' if where else ''}{reason}", _HINT) from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunFolderError(f"{path} cannot be read: {str(error)[:200]}", _HINT) from error
    for each in stored.hosts:
        if each.offset is not None and not _possible(each.offset):
            raise RunFolderError(f"{path} holds a clock offset that cannot be", _HINT)
    return tuple((each.host, each.offset) for each in stored.hosts)


def _possible(offset: ClockOffset) -> bool:
    whole = (offset.offset_ns, offset.bound_ns, offset.contradiction_ns, offset.n)
    return (
        all(abs(number) <= _FARTHEST_NS for number in whole)
        and offset.bound_ns >= 0
        and abs(offset.drift_ppm) <= _FARTHEST_PPM
        and len(offset.pieces) <= _MOST_PIECES
        and all(map(_possible_piece, offset.pieces))
        and all(one.until_ns <= other.from_ns for one, other in pairwise(offset.pieces))
    )


def _possible_piece(piece: Piece) -> bool:
    lines = [number for side in (piece.above, piece.below) for line in side for number in line]
    return (
        0 <= piece.from_ns <= piece.until_ns < 2**62
        and abs(piece.offset_ns) <= _FARTHEST_NS
        and abs(piece.drift_ppm) <= _FARTHEST_PPM
        and len(lines) <= 4 * _MOST_LINES
        and all(math.isfinite(number) and abs(number) <= _FARTHEST_NS for number in lines)
    )
