"""Where is text: the second model, and the boxes drawn around what it marks.

The model gives each pixel the probability of lying in the shrunken core of a line of text (differentiable
binarization, Liao et al. 2020, arXiv:1911.08947). A box is the smallest rectangle around a connected core, grown back
by area * 1.6 / perimeter.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.instrument import stage
from sample_service.faults import slowed
from sample_service.images import Pixels
from sample_service.models import Models

Boxes = NDArray[np.float32]  # [n, 4, 2]: x, y of top left, top right, bottom right, bottom left

LONGEST_SIDE = 640
SIDE_STEP = 32  # the model halves its input five times

CORE = 0.3  # a pixel above this belongs to a core
LEAST_SCORE = 0.5  # the mean over the box
GROWTH = 1.6
LEAST_SIDE = 3.0
MOST_BOXES = 500


def find_text(models: Models, image: Pixels) -> Boxes:
    """The boxes of the text in an image, in its pixels, in no particular order."""
    with stage("preprocess", "resize"), slowed("preprocess"):
        batch = detector_input(image)
    probability = models.det.run(batch)[0, 0]
    with stage("postprocess", "boxes"), slowed("postprocess"):
        return boxes_from(probability, image.shape[1], image.shape[0])


def detector_input(image: Pixels) -> NDArray[np.float32]:
    """[1, 3, H, W] in -1 to 1; the longest side at most 640, both sides multiples of 32. Never enlarged."""
    height, width = image.shape[:2]
    shrink = min(1.0, LONGEST_SIDE / max(height, width))
    new_height, new_width = (max(SIDE_STEP, round(side * shrink / SIDE_STEP) * SIDE_STEP) for side in (height, width))
    resized = cv2.resize(
        image, (new_width, new_height), interpolation=cv2.INTER_AREA if shrink < 1 else cv2.INTER_LINEAR
    )
    return normalised(resized)[np.newaxis]


def normalised(image: Pixels) -> NDArray[np.float32]:
    """[H, W, 3] of 0-255 to [3, H, W] of -1 to 1."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32) / 127.5 - 1.0


def boxes_from(probability: NDArray[np.float32], width: int, height: int) -> Boxes:
    """Boxes from the model's map [H, W], scaled to an image of width x height."""
    cores = cv2.dilate((probability > CORE).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(cores, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    scale = np.array([width / probability.shape[1], height / probability.shape[0]], np.float32)
    limit = np.array([width - 1, height - 1], np.float32)
    boxes: list[NDArray[np.float32]] = []
    for contour in contours[:MOST_BOXES]:
        centre, (a, b), angle = cv2.minAreaRect(contour)
        if min(a, b) < LEAST_SIDE:
            continue
        if _mean_inside(probability, cv2.boxPoints((centre, (a, b), angle))) < LEAST_SCORE:
            continue
        grow = 2 * (a * b * GROWTH) / (2 * (a + b))
        corners = cv2.boxPoints((centre, (a + grow, b + grow), angle))
        box = np.clip(np.round(corners * scale), 0, limit)
        box = ordered(box)
        if np.linalg.norm(box[1] - box[0]) > LEAST_SIDE and np.linalg.norm(box[3] - box[0]) > LEAST_SIDE:
            boxes.append(box)
    return np.array(boxes, np.float32).reshape(-1, 4, 2)


def _mean_inside(probability: NDArray[np.float32], corners: NDArray[np.float32]) -> float:
    """The mean probability inside a quadrilateral."""
    height, width = probability.shape
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, (width - 1, height - 1))
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int), 0, (width - 1, height - 1))
    inside = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    cv2.fillPoly(inside, [(corners - (left, top)).astype(np.int32)], 1)
    return float(cv2.mean(probability[top : bottom + 1, left : right + 1], inside)[0])


def ordered(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Four corners as top left, top right, bottom right, bottom left."""
    by_x = corners[np.argsort(corners[:, 0], kind="stable")]
    left, right = (side[np.argsort(side[:, 1], kind="stable")] for side in (by_x[:2], by_x[2:]))
    return np.array([left[0], right[0], right[1], left[1]], np.float32)


def cut_out(image: Pixels, box: NDArray[np.float32]) -> Pixels:
    """The text in a box, straightened; a box much taller than wide holds text that runs upwards or downwards."""
    width = max(1, round(max(np.linalg.norm(box[1] - box[0]), np.linalg.norm(box[2] - box[3]))))
    height = max(1, round(max(np.linalg.norm(box[3] - box[0]), np.linalg.norm(box[2] - box[1]))))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    turn = cv2.getPerspectiveTransform(box, target)
    cut: Pixels = cv2.warpPerspective(
        image, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.ascontiguousarray(np.rot90(cut)) if height >= 1.5 * width else cut
