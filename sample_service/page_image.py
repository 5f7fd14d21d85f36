"""A page of text as an uncompressed image of exactly so many bytes: an answer whose transfer can be timed."""

from __future__ import annotations

import struct

import cv2
import numpy as np

LEAST_BYTES, MOST_BYTES = 20_000, 50_000_000
_HEADERS = 14 + 40 + 4 * 256  # file header, picture header, palette


def page_image(size: int) -> bytes:
    """A grey bmp file of exactly `size` bytes, about as tall as wide times 1.4."""
    width = int(((size - _HEADERS) / 1.4) ** 0.5) // 4 * 4
    height = (size - _HEADERS) // width
    page = np.full((height, width), 255, np.uint8)
    for number, bottom in enumerate(range(60, height - 20, 48), start=1):
        cv2.putText(page, f"Line {number} of a page of {size} bytes", (20, bottom), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 0, 2)
    # The format says where the pixels begin, so what is left over goes before them.
    pixels_at = size - width * height
    file_header = struct.pack("<2sIHHI", b"BM", size, 0, 0, pixels_at)
    picture_header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 0, width * height, 2835, 2835, 256, 0)
    palette = b"".join(bytes((grey, grey, grey, 0)) for grey in range(256))
    gap = bytes(pixels_at - _HEADERS)
    return b"".join((file_header, picture_header, palette, gap, page[::-1].tobytes()))
