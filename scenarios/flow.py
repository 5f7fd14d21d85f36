"""A customer in Python: ask what a file is, and read it only if it is a photograph.

A task's first request counts from the instant its arrival was scheduled, the following ones from when they are sent: a
customer who waits for an answer before asking on is part of the flow, not of the load.

`harness run scenarios/flow.yaml` runs it, and so does plain Locust: `locust -f scenarios/flow.py --host URL`.
"""

from __future__ import annotations

import random
from pathlib import Path

from locust import task

from harness.load import HarnessUser

PAYLOADS = Path(__file__).parent / "payloads"


def contents(pattern: str) -> list[tuple[str, bytes]]:
    """(name, content) of the payloads that match, read once: reading them while requests wait would be our delay."""
    return [(path.name, path.read_bytes()) for path in sorted(PAYLOADS.glob(pattern))]


RECEIPTS = contents("receipts/receipt-0*.jpg")
FILES = contents("files/*")
DRAW = random.Random(7)


class ReceiptUser(HarnessUser):
    """Sends photographs, and now and then something that is none."""

    @task(3)
    def photograph(self) -> None:
        """Identify, then read: two requests, one after the other."""
        self.submit(*DRAW.choice(RECEIPTS))

    @task(1)
    def some_file(self) -> None:
        """Any file: only the images among them are read."""
        self.submit(*DRAW.choice(FILES))

    def submit(self, name: str, content: bytes) -> None:
        kind = self.client.post("/v1/identify", data=content, name="identify")
        if kind.ok and kind.json()["group"] == "image":
            self.client.post("/v1/read", files={"image": (name, content, kind.json()["mime"])}, name="read")
