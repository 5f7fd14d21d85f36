"""Bad uploads: each is refused with a 4xx and one sentence."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import SCENARIOS, encoded, png_claiming, two_line_receipt
from PIL import Image
from sample_client import detail, read
from sample_server import shared_sample_service

from sample_service.images import read_header
from sample_service.refused import Refused
from sample_service.uploads import form_file

FILES = SCENARIOS / "payloads" / "files"


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_sample_service(), timeout=60) as http:
        yield http


JPEG = encoded(two_line_receipt(), "JPEG")
FORMATS = "send one of jpeg, png, webp, bmp"


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (b"", 422, "the file in the field 'image' is empty"),
        (JPEG[: len(JPEG) // 2], 422, "the jpeg image is cut off before its end"),
        (JPEG[:-2], 422, "the jpeg image is cut off before its end"),
        (JPEG[:50], 422, "the image ends inside its header: the upload was cut off"),
        (encoded(two_line_receipt(), "PNG")[:-2000], 422, "the png image is cut off before its end"),
        (encoded(two_line_receipt(), "WEBP")[:-500], 422, "the webp image is cut off before its end"),
        (encoded(two_line_receipt(), "BMP")[:-500], 422, "the bmp image is cut off before its end"),
        (png_claiming(50_000, 50_000), 413,
         "the png image claims 50000 x 50000 pixels, more than the limit of 40000000"),
        (png_claiming(5_000, 5_000), 422, "the png image is damaged and cannot be decoded"),
        (png_claiming(0, 0), 422, "the png image has no pixels"),
        (encoded(two_line_receipt(), "GIF"), 415, f"this is not an image of a known format; {FORMATS}"),
        ((FILES / "total.py").read_bytes(), 415, f"this is no image but python (score 1.00); {FORMATS}"),
        ((FILES / "readme.txt").read_bytes(), 415, f"this is no image but txt (score 1.00); {FORMATS}"),
        ((FILES / "receipt.pdf").read_bytes(), 415, f"this is no image but pdf (score 1.00); {FORMATS}"),
    ],
)  # fmt: skip
def test_a_bad_image_is_refused_with_one_sentence(
    client: httpx.Client, content: bytes, status: int, sentence: str
) -> None:
    answer = read(client, content)

    assert (answer.status_code, detail(answer)) == (status, sentence)


FORM = {"content-type": "multipart/form-data; boundary=xyz"}
NO_BOUNDARY = {"content-type": "multipart/form-data"}
ONE_FILE = "send one file per request, in the field 'image': this form has 2"
CUT_OFF = "the form ends before its closing boundary: the upload was cut off"
CUT_FORM = b'--xyz\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc'


@pytest.mark.parametrize(
    ("request_body", "status", "sentence"),
    [
        ({"files": {"file": JPEG}}, 422, "the form has no field 'image': it has 'file'"),
        ({"files": [("image", JPEG)] * 2}, 422, ONE_FILE),
        ({"files": [("image", JPEG), ("b", JPEG)]}, 422, ONE_FILE),
        ({"content": JPEG}, 415, "send the image as multipart/form-data, in a file field named 'image'"),
        ({"content": JPEG, "headers": NO_BOUNDARY}, 400, "the Content-Type names no multipart boundary"),
        ({"content": JPEG, "headers": FORM}, 400, "the body is not the multipart form its Content-Type promises"),
        ({"content": CUT_FORM, "headers": FORM}, 400, CUT_OFF),
        ({"content": b"--xyz--\r\n", "headers": FORM}, 422, "the form has no field 'image': it has nothing"),
    ],
)  # fmt: skip
def test_a_bad_form_is_refused_with_one_sentence(
    client: httpx.Client, request_body: dict[str, object], status: int, sentence: str
) -> None:
    answer = client.post("/v1/read", **request_body)  # type: ignore[arg-type]

    assert (answer.status_code, detail(answer)) == (status, sentence)


def test_fifty_megabytes_are_refused_with_one_sentence(client: httpx.Client) -> None:
    answer = client.post("/v1/read", files={"image": bytes(50_000_000)})

    assert answer.status_code == 413
    assert detail(answer) == "the upload is larger than the limit of 20971520 bytes"


@pytest.mark.parametrize("path", ["/v1/read", "/v1/identify"])
def test_reading_stops_at_the_limit_when_no_length_was_declared(client: httpx.Client, path: str) -> None:
    pieces = (bytes(65_536) for _ in range(800))  # 50 MiB, sent chunked

    answer = client.post(path, content=pieces, headers=FORM)

    assert (answer.status_code, detail(answer)) == (413, "the upload is larger than the limit of 20971520 bytes")


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP"])
def test_a_header_tells_the_size(file_format: str) -> None:
    header = read_header(encoded(Image.new("RGB", (321, 45)), file_format))

    assert (header.format, header.width, header.height, header.complete) == (file_format.lower(), 321, 45, True)


def test_a_preview_inside_a_cut_off_photo_does_not_pass_for_its_end() -> None:
    exif = Image.Exif()
    exif[0x927C] = encoded(Image.new("RGB", (8, 8)), "JPEG")  # a whole jpeg, end mark included, in the header
    photo = encoded(two_line_receipt(), "JPEG", exif=exif)

    assert photo.count(b"\xff\xd9") == 2
    assert read_header(photo).complete
    assert not read_header(photo[:-2]).complete


@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\0\0\0WEBPVP8X", b"BM", b""]),
    st.binary(max_size=120),
)
def test_any_bytes_have_a_header_or_are_refused(start: bytes, rest: bytes) -> None:
    try:
        header = read_header(start + rest)
    except Refused as refused:
        assert refused.status in (415, 422)  # noqa: PT017 - either outcome is right
    else:
        assert header.width >= 0
        assert header.height >= 0


@given(st.binary(max_size=300))
def test_any_body_is_a_form_or_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as caught:
        form_file(b"--x\r\n" + body, "multipart/form-data; boundary=x", "image")

    assert caught.value.status in (400, 422)
