"""The parts of the sample service that need no server: models, boxes, decoding, order, payloads."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from magika import Magika
from pictures import SCENARIOS, draw_payloads
from PIL import Image

from sample_service.classify import classify
from sample_service.detect import boxes_from, ordered
from sample_service.models import Models, load_models
from sample_service.page_image import LEAST_BYTES, page_image
from sample_service.reading import in_lines
from sample_service.recognise import Reading, batches, decode

PAYLOADS = SCENARIOS / "payloads"


@given(st.integers(LEAST_BYTES, 400_000))
def test_a_page_image_is_a_bmp_of_any_size_asked_for(size: int) -> None:
    page = page_image(size)

    with Image.open(io.BytesIO(page)) as image:
        image.load()
    assert len(page) == size


def test_the_payloads_are_what_the_script_draws() -> None:
    for folder, drawn in (("receipts", draw_payloads.receipts()), ("files", draw_payloads.files())):
        assert {path.name for path in (PAYLOADS / folder).iterdir()} == set(drawn)
        for name, content in drawn.items():
            assert_same(PAYLOADS / folder / name, content)


def assert_same(path: Path, drawn: bytes) -> None:
    """The same pixels for images, whose encoders may differ in bytes; the same bytes for the rest."""
    if path.suffix not in (".jpg", ".png"):
        assert path.read_bytes() == drawn, path
        return
    with Image.open(path) as stored, Image.open(io.BytesIO(drawn)) as fresh:
        difference = np.abs(np.asarray(stored, np.int16) - np.asarray(fresh, np.int16))
    assert difference.mean() < 1, path


@pytest.fixture(scope="module")
def models() -> Models:
    return load_models(1, 1)


def test_files_are_classified_as_the_makers_of_the_model_do(models: Models) -> None:
    theirs = Magika()
    files = [path.read_bytes() for path in sorted(PAYLOADS.rglob("*.*"))]
    for content in [*files, b"short", b"\xff\xfe\xfd", b"  \n" * 900, b" " * 5000 + b"x = 1\n" * 900, bytes(20_000)]:
        ours, expected = classify(models, content), theirs.identify_bytes(content)

        assert (ours.kind, ours.mime) == (str(expected.output.label), expected.output.mime_type), content[:40]
        assert ours.score == pytest.approx(expected.score, abs=1e-3)


def test_a_rectangle_of_probability_becomes_one_box_grown_on_every_side() -> None:
    probability = np.zeros((64, 128), np.float32)
    probability[20:31, 30:91] = 0.9  # 61 x 11 pixels; after the 2 x 2 dilation corners span 61 x 11

    (box,) = boxes_from(probability, width=256, height=64)

    # distance = area * 1.6 / perimeter = 61 * 11 * 1.6 / 144 = 7.5, then x doubles
    assert np.abs(box - [[45, 12], [197, 12], [197, 38], [45, 38]]).max() <= 3


def test_corners_are_ordered_from_the_top_left_clockwise() -> None:
    corners = np.array([[9, 5], [0, 0], [1, 6], [8, 1]], np.float32)

    assert ordered(corners).tolist() == [[0, 0], [8, 1], [9, 5], [1, 6]]


def test_decoding_drops_repeats_then_blanks() -> None:
    characters = np.array(["", "a", "b", " "])
    path = [1, 1, 0, 1, 2, 2, 3, 2, 0, 3]  # a a - a b b _ b - _
    steps = np.eye(4, dtype=np.float32)[path] * 0.8

    reading = decode(steps, characters)

    assert reading.text == "aab b"
    assert reading.score == pytest.approx(0.8)


def test_decoding_chooses_among_the_allowed_characters_only() -> None:
    characters = np.array(["", "0", "O"])
    steps = np.array([[0.1, 0.3, 0.6]], np.float32)

    assert decode(steps, characters).text == "O"
    assert decode(steps, characters, np.array([0, 1])) == Reading("0", pytest.approx(0.3))


def test_lines_of_like_length_share_a_model_call() -> None:
    assert batches([300, 128, 310, 190, 200, 301]) == [[1, 3], [4, 0], [5, 2]]  # 200 > 1.5 * 128, 301 > 1.5 * 200
    assert batches([128] * 7) == [[0, 1, 2, 3, 4, 5], [6]]
    assert batches([]) == []


@given(st.lists(st.integers(128, 3200), max_size=40))
def test_batches_hold_every_line_once_and_none_is_padded_much(widths: list[int]) -> None:
    groups = batches(widths)

    assert sorted(i for group in groups for i in group) == list(range(len(widths)))
    for group in groups:
        assert len(group) <= 6
        assert max(widths[i] for i in group) <= 1.5 * min(widths[i] for i in group)


def test_boxes_beside_each_other_make_one_line_from_left_to_right() -> None:
    def box(left: float, top: float) -> list[list[float]]:
        return [[left, top], [left + 40, top], [left + 40, top + 20], [left, top + 20]]

    boxes = np.array([box(100, 52), box(10, 50), box(10, 10), box(10, 90)], np.float32)
    readings = [Reading("1.50", 0.9), Reading("Tea", 0.8), Reading("SHOP", 0.7), Reading("smudge", 0.2)]

    found = in_lines(boxes, readings)

    assert [(line.text, line.score) for line in found] == [("SHOP", 0.7), ("Tea 1.50", 0.8)]
    assert found[1].box == [(10, 50), (140, 52), (140, 72), (10, 70)]


def test_a_page_without_text_has_no_lines() -> None:
    assert in_lines(np.zeros((0, 4, 2), np.float32), []) == []
