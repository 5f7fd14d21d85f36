"""Is a line of text upside down: the third model. Those that are get turned."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.instrument import stage
from sample_service.detect import normalised
from sample_service.faults import slowed
from sample_service.images import Pixels
from sample_service.models import Models

BATCH = 6
HEIGHT, WIDTH = 48, 192
SURE = 0.9


def set_upright(models: Models, lines: list[Pixels]) -> list[Pixels]:
    """The same cut-outs in the same order, each the right way up."""
    return [line for start in range(0, len(lines), BATCH) for line in _upright(models, lines[start : start + BATCH])]


def _upright(models: Models, lines: list[Pixels]) -> Iterator[Pixels]:
    with stage("preprocess", "turn_batch"), slowed("preprocess"):
        batch = np.stack([in_strip(line, HEIGHT, WIDTH) for line in lines])
    upside_down = models.cls.run(batch)[:, 1]
    with stage("postprocess", "turn"), slowed("postprocess"):
        return iter(
            [
                np.ascontiguousarray(line[::-1, ::-1]) if p > SURE else line
                for line, p in zip(lines, upside_down, strict=True)
            ]
        )


def in_strip(line: Pixels, height: int, width: int) -> NDArray[np.float32]:
    """[3, height, width]: the line scaled to `height`, at the left of a grey strip; squeezed when it is too long."""
    needed = min(width, max(1, -(-line.shape[1] * height // line.shape[0])))
    strip = np.zeros((3, height, width), np.float32)
    strip[:, :, :needed] = normalised(cv2.resize(line, (needed, height)))
    return strip
