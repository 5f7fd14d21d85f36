"""What kind of file is this: the first model of the chain.

The model sees the first and the last 1,024 bytes without surrounding white space, as numbers 0-255 with 256 for
"nothing here". Both ends are taken from at most 4,096 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.instrument import stage
from sample_service.faults import slowed
from sample_service.models import FileKinds, Models

END = 1024
BLOCK = 4096
NOTHING = 256
LEAST_BYTES = 8  # less says too little for the model

TEXT, UNKNOWN = "txt", "unknown"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file. `score` is the model's probability, 0 to 1."""

    kind: str
    mime: str
    score: float
    group: str


def classify(models: Models, content: bytes) -> Kind:
    """The kind of a file, from its bytes alone. At most one model call."""
    ends = prepared(models.kinds, content)
    return ends if isinstance(ends, Kind) else labelled(models.kinds, models.magika.run(ends[np.newaxis])[0])


def prepared(kinds: FileKinds, content: bytes) -> NDArray[np.int32] | Kind:
    """What the model is to see; or the kind at once, of what is too short for it."""
    with stage("preprocess", "ends"), slowed("preprocess"):
        ends = file_ends(content)
    return _kind(kinds, TEXT if _is_text(content[:BLOCK]) else UNKNOWN, 1.0) if ends is None else ends


def labelled(kinds: FileKinds, scores: NDArray[np.float32]) -> Kind:
    """What the model said, as a kind."""
    with stage("postprocess", "label"), slowed("postprocess"):
        return pick(kinds, scores)


def file_ends(content: bytes) -> NDArray[np.int32] | None:
    """[2048] int32, the model's input; None when too few bytes are left."""
    first = content[:BLOCK].lstrip()[:END]
    last = content[-BLOCK:].rstrip()[-END:]
    if len(content) < LEAST_BYTES or len(first) < LEAST_BYTES:
        return None
    ends = np.full(2 * END, NOTHING, np.int32)
    ends[: len(first)] = np.frombuffer(first, np.uint8)
    ends[2 * END - len(last) :] = np.frombuffer(last, np.uint8)
    return ends


def pick(kinds: FileKinds, scores: NDArray[np.float32]) -> Kind:
    """The most probable label, or just "text" or "unknown" when its score is below the label's limit."""
    best = int(scores.argmax())
    score = float(scores[best])
    label = kinds.labels[best]
    shown = kinds.replaced.get(label, label)
    if score < kinds.least_score.get(label, kinds.default_least_score):
        shown = TEXT if kinds.about[shown]["is_text"] else UNKNOWN
    return _kind(kinds, shown, score)


def _is_text(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _kind(kinds: FileKinds, label: str, score: float) -> Kind:
    about = kinds.about[label]
    mime = about["mime_type"] or ("text/plain" if about["is_text"] else "application/octet-stream")
    return Kind(label, mime, round(score, 4), about["group"] or "unknown")
