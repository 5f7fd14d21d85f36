"""The chain: what is this file -> decode -> find text -> turn it -> read it -> put it in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.instrument import stage
from sample_service.classify import Kind, classify
from sample_service.detect import Boxes, cut_out, find_text
from sample_service.faults import slowed
from sample_service.images import FORMATS, check_header, decode, read_header
from sample_service.models import Models
from sample_service.recognise import Reading, read_lines
from sample_service.refused import Refused
from sample_service.turn import set_upright

LEAST_SCORE = 0.5


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text. `box`: x, y of its corners from the top left, clockwise, in pixels of the upright image."""

    text: str
    box: list[tuple[int, int]]
    score: float


@dataclass(frozen=True, slots=True)
class Page:
    """What stands on an image, top to bottom."""

    lines: list[Line]
    kind: str
    width: int
    height: int


def read_page(models: Models, content: bytes, allowed: NDArray[np.intp] | None, most_pixels: int) -> Page:
    """Read an image file. Raises Refused when it is none or cannot be used."""
    kind = classify(models, content)
    with stage("preprocess", "decode"), slowed("preprocess"):
        refuse_other_kinds(kind)
        header = read_header(content)
        check_header(header, most_pixels)
        image = decode(content, header)
    boxes = find_text(models, image)
    with stage("preprocess", "cut_out"), slowed("preprocess"):
        cuts = [cut_out(image, box) for box in boxes]
    readings = read_lines(models, set_upright(models, cuts), allowed)
    with stage("postprocess", "lines"), slowed("postprocess"):
        lines = in_lines(boxes, readings)
    return Page(lines, header.format, width=image.shape[1], height=image.shape[0])


def refuse_other_kinds(kind: Kind) -> None:
    """415 for what the first model is sure is no image. Tiny images look like nothing to it: their header decides."""
    if kind.group not in ("image", "unknown"):
        raise Refused(
            415, f"this is no image but {kind.kind} (score {kind.score:.2f}); send one of {', '.join(FORMATS)}"
        )


def in_lines(boxes: Boxes, readings: list[Reading]) -> list[Line]:
    """Join boxes that stand beside each other; lines from the top down, boxes from the left. Doubtful text is left out.

    A box belongs to a line when its middle lies within half a line height of the middle of the line's last box.
    """
    kept = [i for i, reading in enumerate(readings) if reading.text and reading.score >= LEAST_SCORE]
    middles, heights = boxes[:, :, 1].mean(axis=1), np.linalg.norm(boxes[:, 3] - boxes[:, 0], axis=1)
    rows: list[list[int]] = []
    for i in sorted(kept, key=lambda i: float(middles[i])):
        if rows and abs(middles[i] - middles[rows[-1][-1]]) < 0.5 * min(heights[i], heights[rows[-1][-1]]):
            rows[-1].append(i)
        else:
            rows.append([i])
    return [_line(boxes, readings, sorted(row, key=lambda i: float(boxes[i, 0, 0]))) for row in rows]


def _line(boxes: Boxes, readings: list[Reading], row: list[int]) -> Line:
    first, last = boxes[row[0]], boxes[row[-1]]
    corners = (first[0], last[1], last[2], first[3])
    return Line(
        text=" ".join(readings[i].text for i in row),
        box=[(int(x), int(y)) for x, y in corners],
        score=round(min(readings[i].score for i in row), 4),
    )
