"""What an image file claims to be, checked before it is decoded; then the pixels, upright and in colour.

A header is a few bytes that can promise gigabytes, and decoders fill in silently what a cut-off file lacks: so the
size and the end of the file are looked up here first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sample_service.refused import Refused

Pixels = NDArray[np.uint8]  # [height, width, 3], blue green red

FORMATS = ("jpeg", "png", "webp", "bmp")
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True)
class Header:
    """What the file says about itself. `complete`: the format's end is where it should be."""

    format: str
    width: int
    height: int
    complete: bool
    alpha: bool = False


def read_header(content: bytes) -> Header:
    """The header of a jpeg, png, webp or bmp file; anything else is refused with 415, a broken one with 422."""
    try:
        if content.startswith(b"\xff\xd8\xff"):
            return _jpeg(content)
        if content.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(content)
        if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
            return _webp(content)
        if content.startswith(b"BM"):
            return _bmp(content)
    except (struct.error, IndexError) as error:
        raise Refused(422, "the image ends inside its header: the upload was cut off") from error
    raise Refused(415, f"this is not an image of a known format; send one of {', '.join(FORMATS)}")


def _jpeg(content: bytes) -> Header:
    width = height = 0
    at = 2
    while True:
        mark, marker = struct.unpack_from(">BB", content, at)
        if mark != 0xFF:
            raise Refused(422, "the jpeg header is damaged")
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a length
            at += 2
            continue
        (length,) = struct.unpack_from(">H", content, at + 2)
        if marker == 0xD9 or length < 2:
            raise Refused(422, "the jpeg header is damaged")
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", content, at + 5)
        at += 2 + length
        if marker == 0xDA:
            # In coded pixels 0xFF is always followed by 0x00 or a restart marker, so this can only be the end. An
            # embedded preview has an end of its own, but stands before this point.
            return Header("jpeg", width, height, complete=content.find(b"\xff\xd9", at) >= 0)


def _png(content: bytes) -> Header:
    width, height = struct.unpack_from(">II", content, 16)
    pixels_at = content.find(b"IDAT")
    alpha = content[25] in (4, 6) or content.find(b"tRNS", 0, max(pixels_at, 0)) > 0
    return Header("png", width, height, complete=content.rfind(b"IEND") > pixels_at > 0, alpha=alpha)


def _webp(content: bytes) -> Header:
    (size,) = struct.unpack_from("<I", content, 4)
    complete = size + 8 <= len(content)
    chunk = content[12:16]
    if chunk == b"VP8X":
        width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
        return Header("webp", width, height, complete, alpha=bool(content[20] & 0x10))
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return Header("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, complete, alpha=bool(bits >> 28 & 1))
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return Header("webp", width & 0x3FFF, height & 0x3FFF, complete)
    raise Refused(422, "the webp header is damaged")


def _bmp(content: bytes) -> Header:
    pixels_at, header_size = struct.unpack_from("<II", content, 10)
    if header_size == 12:
        width, height, _, depth = struct.unpack_from("<HHHH", content, 18)
        packed = 0
    else:
        width, height, _, depth, packed = struct.unpack_from("<iiHHI", content, 18)
    row = (max(width, 0) * depth + 31) // 32 * 4
    # A packed file may be of any length; its decoder notices a missing end.
    complete = packed in (1, 2) or pixels_at + row * abs(height) <= len(content)
    return Header("bmp", max(width, 0), abs(height), complete)


def check_header(header: Header, most_pixels: int) -> None:
    """Refuse what should not be decoded: no pixels or a missing end (422), too many pixels (413)."""
    if header.width < 1 or header.height < 1:
        raise Refused(422, f"the {header.format} image has no pixels")
    if header.width * header.height > most_pixels:
        size = f"{header.width} x {header.height}"
        raise Refused(413, f"the {header.format} image claims {size} pixels, more than the limit of {most_pixels}")
    if not header.complete:
        raise Refused(422, f"the {header.format} image is cut off before its end")


def decode(content: bytes, header: Header) -> Pixels:
    """The pixels, turned upright as the file asks, 8 bits, see-through parts on white."""
    # With alpha kept, the decoder ignores orientation: the pair is rare, and black text on a see-through page is not.
    flags = cv2.IMREAD_UNCHANGED if header.alpha else cv2.IMREAD_COLOR
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        raise Refused(422, f"the {header.format} image is damaged and cannot be decoded") from error
    if image is None:
        raise Refused(422, f"the {header.format} image is damaged and cannot be decoded")
    if image.dtype != np.uint8:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    elif image.shape[2] == 4:
        image = _on_white(image)
    return np.ascontiguousarray(image)


def _on_white(image: NDArray[np.uint8]) -> Pixels:
    cover = image[:, :, 3:].astype(np.uint16)
    return ((image[:, :, :3] * cover + 255 * (255 - cover)) // 255).astype(np.uint8)
