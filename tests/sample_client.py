"""Asking the sample service, and reading what it answers."""

from __future__ import annotations

import re
from typing import Any

import httpx

RUN_HEADER = {"x-mlharness-run": "test"}


def read(client: httpx.Client, content: bytes, **options: Any) -> httpx.Response:
    return client.post("/v1/read", files={"image": ("photo.jpg", content, "image/jpeg")}, **options)


def lines(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [line["text"] for line in answer.json()["lines"]]


def detail(answer: httpx.Response) -> str:
    """The one sentence of a refusal; nothing else may be in the body."""
    (sentence,) = answer.json().values()
    assert isinstance(sentence, str)
    assert "\n" not in sentence
    return sentence


def durations(answer: httpx.Response) -> dict[str, float]:
    """Stage -> ms from the Server-Timing header."""
    return {name: float(ms) for name, ms in re.findall(r"(\w+);dur=([\d.]+)", answer.headers["server-timing"])}
