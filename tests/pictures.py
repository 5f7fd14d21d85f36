"""Receipts and odd image files for the tests of the sample service."""

from __future__ import annotations

import importlib.util
import io
import struct
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

SCENARIOS = Path(__file__).parent.parent / "scenarios"


def load_draw_payloads() -> ModuleType:
    """scenarios/draw_payloads.py as a module; the folder is no package."""
    spec = importlib.util.spec_from_file_location("draw_payloads", SCENARIOS / "draw_payloads.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault("draw_payloads", module)
    spec.loader.exec_module(module)
    return module


draw_payloads = load_draw_payloads()


def text_of(lines: int, number: int) -> list[str]:
    """What a receipt says, line by line."""
    return [" ".join(row) for row in draw_payloads.receipt(lines, number)]


def two_line_receipt() -> Image.Image:
    """The receipt of payloads/receipts/receipt-02-1.jpg."""
    image: Image.Image = draw_payloads.photograph(draw_payloads.receipt(2, 1), seed=2001)
    return image


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """A small png file whose header promises any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")
