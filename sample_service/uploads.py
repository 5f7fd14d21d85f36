"""From a request to the bytes that were sent: bounded reading and the one file of a form."""

from __future__ import annotations

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from sample_service.refused import Refused


async def read_body(request: Request, most: int) -> bytes:
    """The request's body. Reading stops at `most` bytes, whatever Content-Length says: 413."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared[:20]) > most:
        raise too_large(most)
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > most:
            raise too_large(most)
        pieces.append(piece)
    return b"".join(pieces)


def too_large(most: int) -> Refused:
    return Refused(413, f"the upload is larger than the limit of {most} bytes")


def is_form(content_type: str) -> bool:
    return content_type.split(";", 1)[0].strip().lower() == "multipart/form-data"


def form_file(body: bytes, content_type: str, field: str) -> bytes:
    """The content of the one file in a multipart form, which must be in `field`; other text fields are ignored."""
    parts = _parts(body, content_type)
    wanted = [content for name, _, content in parts if name == field]
    if not wanted:
        names = ", ".join(sorted({repr(name) for name, _, _ in parts})) or "nothing"
        raise Refused(422, f"the form has no field '{field}': it has {names}"[:300])
    files = sum(1 for name, is_file, _ in parts if is_file or name == field)
    if files > 1:
        raise Refused(422, f"send one file per request, in the field '{field}': this form has {files}")
    if not wanted[0]:
        raise Refused(422, f"the file in the field '{field}' is empty")
    return wanted[0]


def _parts(body: bytes, content_type: str) -> list[tuple[str, bool, bytes]]:
    """(name, has a file name, content) of each part of a form."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise Refused(400, "the Content-Type names no multipart boundary")
    collector = _Collector()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": collector.begin,
                "on_header_field": collector.header_field,
                "on_header_value": collector.header_value,
                "on_header_end": collector.header_end,
                "on_part_data": collector.content,
                "on_part_end": collector.part_end,
                "on_end": collector.end,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise Refused(400, "the body is not the multipart form its Content-Type promises") from error
    if not collector.ended:
        raise Refused(400, "the form ends before its closing boundary: the upload was cut off")
    return collector.parts


class _Collector:
    """Receives what the parser finds; `parts` holds the finished ones."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, bool, bytes]] = []
        self.ended = False
        self.begin()

    def begin(self) -> None:
        self._disposition = b""
        self._field = b""
        self._value = b""
        self._pieces: list[bytes] = []

    def header_field(self, chunk: bytes, start: int, end: int) -> None:
        self._field += chunk[start:end]

    def header_value(self, chunk: bytes, start: int, end: int) -> None:
        self._value += chunk[start:end]

    def header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def content(self, chunk: bytes, start: int, end: int) -> None:
        self._pieces.append(chunk[start:end])

    def part_end(self) -> None:
        options = parse_options_header(self._disposition)[1]
        name = options.get(b"name", b"").decode("utf-8", "replace")
        self.parts.append((name, b"filename" in options, b"".join(self._pieces)))

    def end(self) -> None:
        self.ended = True
