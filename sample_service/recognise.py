"""What does a line of text say: the fourth model, and its decoding.

The model gives each step along the line a probability per character. Decoding takes the best one at each step, drops
repeats, then blanks (connectionist temporal classification, best path: Graves et al. 2006).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.instrument import stage
from sample_service.faults import slowed
from sample_service.images import Pixels
from sample_service.models import Models
from sample_service.turn import in_strip

BATCH = 6
HEIGHT = 48
LEAST_WIDTH, MOST_WIDTH = 128, 3200
MOST_UNLIKE = 1.5
BLANK = 0

LANGUAGES = ("any", "en", "latin")


@dataclass(frozen=True, slots=True)
class Reading:
    """The text of one cut-out and how sure the model is of it: the mean over its characters, 0 to 1."""

    text: str
    score: float


def read_lines(models: Models, lines: list[Pixels], allowed: NDArray[np.intp] | None) -> list[Reading]:
    """One reading per cut-out, in the same order. `allowed`: classes to choose from, None for all."""
    readings = [Reading("", 0.0)] * len(lines)
    for chosen in batches([strip_width(line) for line in lines]):
        with stage("preprocess", "read_batch"), slowed("preprocess"):
            batch = _batch([lines[i] for i in chosen])
        steps = models.rec.run(batch)
        with stage("postprocess", "ctc"), slowed("postprocess"):
            for i, line_steps in zip(chosen, steps, strict=True):
                readings[i] = decode(line_steps, models.characters, allowed)
    return readings


def strip_width(line: Pixels) -> int:
    """The width of a line scaled to the model's height, pixels."""
    height, width = line.shape[:2]
    return min(MOST_WIDTH, max(LEAST_WIDTH, -(-HEIGHT * int(width) // int(height))))


def batches(widths: list[int]) -> list[list[int]]:
    """Positions of the lines that share a model call: at most 6, the longest at most 1.5 times the shortest.

    Each line is padded to the longest of its batch, and padding costs as much as text.
    """
    groups: list[list[int]] = []
    for i in sorted(range(len(widths)), key=lambda i: widths[i]):
        if groups and len(groups[-1]) < BATCH and widths[i] <= MOST_UNLIKE * widths[groups[-1][0]]:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _batch(lines: list[Pixels]) -> NDArray[np.float32]:
    width = max(strip_width(line) for line in lines)
    return np.stack([in_strip(line, HEIGHT, width) for line in lines])


def decode(
    steps: NDArray[np.float32], characters: NDArray[np.str_], allowed: NDArray[np.intp] | None = None
) -> Reading:
    """The best path through [steps, classes] of probabilities; class 0 is the blank."""
    seen = steps if allowed is None else steps[:, allowed]
    best = seen.argmax(axis=1)
    sure = seen[np.arange(len(seen)), best]
    classes = best if allowed is None else allowed[best]
    kept = classes != BLANK
    kept[1:] &= classes[1:] != classes[:-1]
    if not kept.any():
        return Reading("", 0.0)
    return Reading("".join(characters[classes[kept]]).strip(), float(sure[kept].mean()))


def alphabet(characters: NDArray[np.str_], language: str) -> NDArray[np.intp] | None:
    """The classes a language may use: `en` printable ASCII and currency signs, `latin` all up to U+024F, `any` all."""
    if language == "any":
        return None
    last = 0x7E if language == "en" else 0x24F
    wanted = [
        i for i, c in enumerate(characters) if i == BLANK or (len(c) == 1 and (" " <= c <= chr(last) or c in "£€¥"))
    ]
    return np.array(wanted, np.intp)
