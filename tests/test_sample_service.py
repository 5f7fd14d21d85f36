"""The sample service over HTTP: what it reads and what it says."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from pictures import SCENARIOS, encoded, text_of, two_line_receipt
from PIL import Image
from sample_client import detail, lines, read
from sample_server import shared_sample_service

RECEIPTS = SCENARIOS / "payloads" / "receipts"
FILES = SCENARIOS / "payloads" / "files"


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_sample_service(), timeout=60) as http:
        yield http


@pytest.mark.parametrize("number", range(1, 7))
def test_a_receipt_of_two_lines_is_read_right(client: httpx.Client, number: int) -> None:
    answer = read(client, (RECEIPTS / f"receipt-02-{number}.jpg").read_bytes())

    assert lines(answer) == text_of(2, number)


@pytest.mark.parametrize(("count", "number"), [(6, 1), (12, 2)])
def test_a_longer_receipt_is_read_from_the_top_down(client: httpx.Client, count: int, number: int) -> None:
    answer = read(client, (RECEIPTS / f"receipt-{count:02d}-{number}.jpg").read_bytes())

    assert lines(answer) == text_of(count, number)


def test_an_answer_carries_size_kind_boxes_and_scores(client: httpx.Client) -> None:
    page = read(client, (RECEIPTS / "receipt-02-1.jpg").read_bytes()).json()

    assert (page["kind"], page["width"], page["height"]) == ("jpeg", 320, 108)
    for line in page["lines"]:
        (left, top), (right, _), (_, bottom), _ = line["box"]
        assert 0 <= left < right < 320
        assert 0 <= top < bottom < 108
        assert 0.9 < line["score"] <= 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("png", encoded(two_line_receipt(), "PNG")),
        ("webp", encoded(two_line_receipt(), "WEBP", quality=85)),
        ("bmp", encoded(two_line_receipt(), "BMP")),
        ("progressive jpeg", encoded(two_line_receipt(), "JPEG", progressive=True)),
        ("grey jpeg", encoded(two_line_receipt().convert("L"), "JPEG")),
        ("cmyk jpeg", encoded(two_line_receipt().convert("CMYK"), "JPEG")),
        ("palette png", encoded(two_line_receipt().convert("P"), "PNG", transparency=3)),
    ],
)  # fmt: skip
def test_every_common_way_to_store_an_image_is_read_alike(client: httpx.Client, name: str, content: bytes) -> None:
    assert lines(read(client, content)) == text_of(2, 1), name


def test_dark_text_on_a_see_through_page_is_read(client: httpx.Client) -> None:
    ink = two_line_receipt().convert("L").point(lambda light: 255 - light)
    page = Image.new("RGBA", ink.size, (0, 0, 0, 0))
    page.putalpha(ink)

    assert lines(read(client, encoded(page, "PNG"))) == text_of(2, 1)


def test_sixteen_bit_grey_is_read(client: httpx.Client) -> None:
    grey = two_line_receipt().convert("L")
    deep = Image.frombytes("I;16", grey.size, b"".join(bytes((light, light)) for light in grey.tobytes()))

    assert lines(read(client, encoded(deep, "PNG"))) == text_of(2, 1)


def test_the_orientation_a_phone_notes_is_applied(client: httpx.Client) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me a quarter clockwise"
    page = read(client, encoded(two_line_receipt().rotate(90, expand=True), "JPEG", exif=exif, quality=90))

    assert lines(page) == text_of(2, 1)
    assert (page.json()["width"], page.json()["height"]) == (320, 108)


def test_a_receipt_upside_down_is_turned(client: httpx.Client) -> None:
    answer = read(client, encoded(two_line_receipt().rotate(180), "JPEG"))

    assert sorted(" ".join(lines(answer)).split()) == sorted(" ".join(text_of(2, 1)).split())


@pytest.mark.parametrize("size", [(1, 1), (5000, 2), (2, 5000)])
def test_an_image_without_room_for_text_has_no_lines(client: httpx.Client, size: tuple[int, int]) -> None:
    assert lines(read(client, encoded(Image.new("RGB", size, "white"), "PNG"))) == []


@pytest.mark.parametrize("lang", ["any", "en", "latin"])
def test_a_language_limits_the_alphabet(client: httpx.Client, lang: str) -> None:
    answer = read(client, (RECEIPTS / "receipt-02-1.jpg").read_bytes(), params={"lang": lang})

    assert lines(answer) == text_of(2, 1)


def test_an_unknown_language_is_refused_with_the_known_ones(client: httpx.Client) -> None:
    answer = read(client, b"x", params={"lang": "elvish"})

    assert answer.status_code == 422
    assert detail(answer) == "query lang: Input should be 'any', 'en' or 'latin'"


# --- the other endpoints ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "mime", "group"),
    [
        ("orders.json", "json", "application/json", "code"),
        ("orders.csv", "csv", "text/csv", "code"),
        ("orders.zip", "zip", "application/zip", "archive"),
        ("total.py", "python", "text/x-python", "code"),
        ("total.sh", "shell", "text/x-shellscript", "code"),
        ("receipt.pdf", "pdf", "application/pdf", "document"),
        ("receipt.png", "png", "image/png", "image"),
    ],
)
def test_a_file_is_identified_from_the_bare_body(
    client: httpx.Client, name: str, kind: str, mime: str, group: str
) -> None:
    answer = client.post("/v1/identify", content=(FILES / name).read_bytes()).json()

    assert (answer["kind"], answer["mime"], answer["group"]) == (kind, mime, group)
    assert 0.5 < answer["score"] <= 1


def test_a_file_is_identified_from_a_form_too(client: httpx.Client) -> None:
    answer = client.post("/v1/identify", files={"file": (FILES / "total.py").read_bytes()})

    assert answer.json()["kind"] == "python"


def test_an_empty_body_is_refused_with_one_sentence(client: httpx.Client) -> None:
    answer = client.post("/v1/identify", content=b"")

    assert (answer.status_code, detail(answer)) == (422, "the body is empty: there is nothing to identify")


@pytest.mark.parametrize("size", [20_000, 123_457, 5_000_000])
def test_a_page_image_has_exactly_the_size_asked_for(client: httpx.Client, size: int) -> None:
    answer = client.get("/v1/page-image", params={"bytes": size})

    assert answer.headers["content-type"] == "image/bmp"
    assert len(answer.content) == size


def test_a_page_image_is_an_image_the_service_itself_can_read(client: httpx.Client) -> None:
    page = client.get("/v1/page-image", params={"bytes": 150_000}).content

    assert lines(read(client, page))[0].startswith("Line 1 of a page")


def test_readiness_health_and_the_api_document_answer(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()

    assert client.get("/readyz").json() == {"status": "ready"}
    assert client.get("/healthz").json() == {"status": "ok"}
    form = document["paths"]["/v1/read"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert form["schema"]["properties"]["image"]["format"] == "binary"
