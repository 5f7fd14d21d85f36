"""One HTTP/1.1 answer, fed as bytes arrive: a thin wrapper around geventhttpclient's C parser (llhttp).

One parser lives as long as its connection. Interim answers (1xx) are skipped, trailers count as headers, a
body is counted and kept only when somebody will look at it.
"""

from __future__ import annotations

from geventhttpclient._parser import HTTPParseError, HTTPResponseParser

MAX_HEAD_BYTES = 1 << 20


class NotHTTP(Exception):  # noqa: N818 - reads as the condition it reports
    """The bytes are no answer to our request; the message is short and stable."""


class Answer(HTTPResponseParser):
    """Parser and parsed answer in one. `expect` starts an answer, `feed_bytes` advances it until `complete`."""

    def __init__(self) -> None:
        super().__init__()
        self.expect(no_body=False, keep_body=False)

    def expect(self, *, no_body: bool, keep_body: bool) -> None:
        """Forget the last answer; the next bytes belong to a new one. `no_body`: the request was a HEAD."""
        self.no_body = no_body
        self.keep_body = keep_body
        self.complete = False
        self.surplus = False  # bytes after the end of the answer: the connection cannot be trusted any more
        self.spent = False  # set by the wire: the request was not sent to its end
        self.head_complete = False
        self.status: int | None = None
        self.body_bytes = 0
        self.body = bytearray()
        self.interim_done = False
        self._head_bytes = 0
        self._pairs: list[list[str]] = []
        self._value_seen = True

    def feed_bytes(self, chunk: bytes) -> None:
        """Parse what arrived; `b""` is the end of the stream. Raises NotHTTP."""
        self.interim_done = False
        try:
            self.feed(chunk)
        except HTTPParseError as refused:
            if self.complete:
                self.surplus = True
            elif not chunk:
                raise NotHTTP("closed before the answer was complete") from None
            else:
                raise NotHTTP("not HTTP: " + str(refused.args[0])[:80]) from None
        if not self.head_complete:
            self._head_bytes += len(chunk)
            if self._head_bytes > MAX_HEAD_BYTES:
                raise NotHTTP("not HTTP: the head of the answer exceeds 1 MiB")

    @property
    def keep_alive(self) -> bool:
        """Whether the connection may carry another request after this answer."""
        return self.complete and not self.surplus and not self.spent and bool(self.should_keep_alive())

    def headers(self) -> list[tuple[str, str]]:
        """Header lines, then trailers, in the order they came; names as sent."""
        return [(name, value) for name, value in self._pairs]

    def header(self, name: str) -> str | None:
        """All lines of a header joined with ", "; None when there is none. `name` in lower case."""
        values = [value for key, value in self._pairs if len(key) == len(name) and key.lower() == name]
        return ", ".join(values) if values else None

    # --- called by the C parser ---------------------------------------------------------------------------

    def _on_message_begin(self) -> None:
        if self.complete:
            self.surplus = True

    def _on_status(self, reason: str) -> None:
        pass

    def _on_header_field(self, text: str) -> None:
        if self.surplus:
            return
        if self._value_seen:
            self._pairs.append([text, ""])
            self._value_seen = False
        else:
            self._pairs[-1][0] += text

    def _on_header_value(self, text: str) -> None:
        if not self.surplus:
            self._pairs[-1][1] += text
            self._value_seen = True

    def _on_headers_complete(self) -> bool:
        if not self.surplus:
            self.status = self.get_code()
            self.head_complete = self.status >= 200
        return self.no_body

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
            self.interim_done = True
            self._head_bytes = 0
            self._pairs.clear()
            self._value_seen = True
