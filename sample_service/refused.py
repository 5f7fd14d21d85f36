"""The one way an upload is turned down: a 4xx status and one sentence for the caller."""

from __future__ import annotations


class Refused(Exception):  # noqa: N818 - reads as the answer it becomes
    """The upload cannot be used. `status` is a 4xx code, `sentence` goes into {"detail": ...}."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
