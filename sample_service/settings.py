"""What the environment says about the service, read once at start."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sample_service.batches import Batching
from sample_service.faults import Fault, parse_faults

_BATCHING = re.compile(r"(?P<most>\d{1,4}):(?P<ms>\d{1,6}(?:\.\d{1,6})?)ms")
MOST_BATCH, MOST_WINDOW_MS = 256, 60_000.0


class SettingsError(Exception):
    """A variable holds a value the service cannot use; the message names both."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Pool and model sizes, limits on uploads, faults."""

    reader_threads: int
    onnx_intra_threads: int
    onnx_inter_threads: int
    max_upload_bytes: int
    max_pixels: int
    onnx_spin: bool = False
    identify_batch: Batching | None = None
    faults: tuple[Fault, ...] = ()


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Settings from environment variables. Raises SettingsError with one sentence."""
    try:
        faults = parse_faults(environ.get("FAULTS", ""))
    except ValueError as error:
        raise SettingsError(str(error)) from error
    return Settings(
        reader_threads=_count(environ, "READER_THREADS", default=len(os.sched_getaffinity(0)), most=256),
        onnx_intra_threads=_count(environ, "ONNX_INTRA_THREADS", default=1, most=256),
        onnx_inter_threads=_count(environ, "ONNX_INTER_THREADS", default=1, most=256),
        max_upload_bytes=_count(environ, "MAX_UPLOAD_BYTES", default=20 * 1024**2, most=1024**3),
        max_pixels=_count(environ, "MAX_PIXELS", default=40_000_000, most=10**9),
        onnx_spin=_switch(environ, "ONNX_SPIN"),
        identify_batch=_batching(environ, "IDENTIFY_BATCH"),
        faults=faults,
    )


def _count(environ: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:20]) <= most:
        raise SettingsError(f"{name}={text!r} is not a whole number from 1 to {most}")
    return int(text)


def _switch(environ: Mapping[str, str], name: str) -> bool:
    text = environ.get(name, "").strip()
    if text not in ("", "0", "1"):
        raise SettingsError(f"{name}={text!r} is neither 0 (off) nor 1 (on)")
    return text == "1"


def _batching(environ: Mapping[str, str], name: str) -> Batching | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    match = _BATCHING.fullmatch(text) if text.isascii() else None
    if match is None or not 1 <= int(match["most"]) <= MOST_BATCH or not 0 < float(match["ms"]) <= MOST_WINDOW_MS:
        raise SettingsError(
            f"{name}={text!r} is no batch size and window such as 8:20ms"
            f" (at most {MOST_BATCH} requests and {MOST_WINDOW_MS:.0f} ms)"
        )
    return Batching(int(match["most"]), float(match["ms"]) / 1000)
