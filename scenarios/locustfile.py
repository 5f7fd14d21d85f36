"""A locustfile as people have them: nothing of harness in it.

`harness run scenarios/locustfile.py --target http://127.0.0.1:8000 --users 4` runs it and splits every request; plain
`locust -f scenarios/locustfile.py --host http://127.0.0.1:8000` still works, without the split.
"""

from __future__ import annotations

from pathlib import Path

from locust import FastHttpUser, between, task

RECEIPT = Path(__file__).parent / "payloads" / "receipts" / "receipt-02-1.jpg"


class Customer(FastHttpUser):
    """Asks what a file is; now and then has it read."""

    wait_time = between(0.2, 0.6)

    @task(3)
    def identify(self) -> None:
        self.client.post("/v1/identify", data=RECEIPT.read_bytes(), name="identify")

    @task
    def read(self) -> None:
        with RECEIPT.open("rb") as image:
            self.client.post("/v1/read", files={"image": image}, name="read")
