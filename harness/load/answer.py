"""One HTTP/1.1 answer, fed as bytes arrive: a thin wrapper around geventhttpclient's C parser (llhttp).

One parser lives as long as its connection. Interim answers (1xx) are skipped, trailers count as headers, a body is
counted and kept only when somebody will look at it. Header lines are looked for in the bytes of the head, and only when
somebody asks: the parser would make two strings and two calls of each line of each answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from geventhttpclient._parser import HTTPParseError, HTTPResponseParser

MAX_HEAD_BYTES = 1 << 20
_KEPT_BYTES = 1 << 13  # a first chunk longer than this is cut to the head: idle connections hold on to it
_NO_BODY = bytearray()
_nowhere: Callable[[str], None] = deque[str](maxlen=0).append  # takes what the parser reports without a Python frame


class NotHTTP(Exception):  # noqa: N818 - reads as the condition it reports
    """The bytes are no answer to our request; the message is short and stable."""


class Answer(HTTPResponseParser):
    """Parser and parsed answer in one. `expect` starts an answer, `feed_bytes` advances it until `complete`."""

    # The parser looks its callbacks up by name for each event, first in the instance: slots spare it the dict.
    __slots__ = (
        "_head", "_heads_before", "_on_header_field", "_on_header_value", "_trailers", "_value_seen", "body",
        "body_bytes", "complete", "head_complete", "interims", "keep_body", "no_body", "spent", "status", "surplus",
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._trailers: list[list[str]] | None = None
        self._value_seen = True
        self._on_header_field = self._on_header_value = _nowhere
        self.expect(no_body=False, keep_body=False)

    def expect(self, no_body: bool, keep_body: bool) -> None:
        """Forget the last answer; the next bytes belong to a new one. `no_body`: the request was a HEAD."""
        self.no_body = no_body
        self.keep_body = keep_body
        self.complete = False
        self.surplus = False  # bytes after the end of the answer: the connection cannot be trusted any more
        self.spent = False  # set by the wire: the request was not sent to its end
        self.head_complete = False
        self.status: int | None = None
        self.body_bytes = 0
        self.body = bytearray() if keep_body else _NO_BODY
        self.interims = 0  # 1xx answers so far
        self._head = b""
        self._heads_before = 0  # of interim answers, in the kept bytes
        if self._trailers is not None:
            self._trailers, self._value_seen = None, True
            self._on_header_field = self._on_header_value = _nowhere

    def feed_bytes(self, chunk: bytes) -> None:
        """Parse what arrived; `b""` is the end of the stream. Raises NotHTTP."""
        if not self.head_complete:
            self._head += chunk
        try:
            self.feed(chunk)
        except HTTPParseError as refused:
            if self.complete:
                self.surplus = True
            elif not chunk:
                raise NotHTTP("closed before the answer was complete") from None
            else:
                raise NotHTTP("not HTTP: " + str(refused.args[0])[:80]) from None
        if len(self._head) > _KEPT_BYTES:
            self._bound_head()

    def _bound_head(self) -> None:
        if self.head_complete:
            self._head = self._head_text()
            self._heads_before = 0
        elif len(self._head) > MAX_HEAD_BYTES:
            raise NotHTTP("not HTTP: the head of the answer exceeds 1 MiB")

    @property
    def keep_alive(self) -> bool:
        """Whether the connection may carry another request after this answer."""
        return self.complete and not self.surplus and not self.spent and bool(self.should_keep_alive())

    def headers(self) -> list[tuple[str, str]]:
        """Header lines, then trailers, in the order they came; names as sent."""
        found: list[tuple[str, str]] = []
        for line in self._head_text().decode("latin-1").split("\n")[1:]:
            name, colon, value = line.partition(":")
            if colon and not line.startswith((" ", "\t")):
                found.append((name, value.strip(" \t\r")))
            elif found and line.strip():  # a folded line belongs to the one before it
                found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}".strip())
        return found + [(name, value.strip()) for name, value in self._trailers or ()]

    def header(self, name: str) -> str | None:
        """All lines of a header joined with ", "; None when there is none. `name` in lower case."""
        if not self._trailers and name.encode() not in self._head.lower():
            return None
        values = [value for key, value in self.headers() if key.lower() == name]
        return ", ".join(values) if values else None

    def _head_text(self) -> bytes:
        """The head alone, without interim ones before it and the body after it; lines end with LF."""
        parts = self._head.replace(b"\r\n", b"\n").split(b"\n\n", self._heads_before + 1)
        return parts[min(self._heads_before, len(parts) - 1)]

    # --- called by the C parser ---------------------------------------------------------------------------

    _on_status = staticmethod(_nowhere)

    def _on_message_begin(self) -> None:
        if self.complete:
            self.surplus = True

    def _on_headers_complete(self) -> bool:
        if not self.surplus:
            self.status = status = self.get_code()
            if status >= 200:
                self.head_complete = True
                if self.get_remaining_content_length() == 0:  # perhaps chunked, and then perhaps with trailers
                    self._trailers = []
                    self._on_header_field = self._on_trailer_field
                    self._on_header_value = self._on_trailer_value
        return self.no_body

    def _on_trailer_field(self, text: str) -> None:
        assert self._trailers is not None  # noqa: S101 - set with this callback
        if self.surplus:
            return
        if self._value_seen:
            self._trailers.append([text, ""])
            self._value_seen = False
        else:
            self._trailers[-1][0] += text

    def _on_trailer_value(self, text: str) -> None:
        assert self._trailers is not None  # noqa: S101 - set with this callback
        if not self.surplus:
            self._trailers[-1][1] += text
            self._value_seen = True

    def _on_body(self, piece: bytearray) -> None:
        if self.surplus:
            return
        self.body_bytes += len(piece)
        if self.keep_body:
            self.body += piece

    def _on_message_complete(self) -> None:
        if self.surplus:
            return
        if self.head_complete:
            self.complete = True
        else:  # 1xx: the real answer follows
            self.status = None
            self.interims += 1
            self._heads_before += 1
