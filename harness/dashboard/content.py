"""What a request of a page of ours carries."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request

from harness.errors import UsageError


async def content_of(request: Request) -> dict[str, Any]:
    """The JSON object in the body; its size was bounded before. Raises UsageError."""
    try:
        content = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise UsageError(
            "the content of the request is no JSON", 'send an object, e.g. {"tags": ["release"]}'
        ) from None
    if not isinstance(content, dict):
        raise UsageError("the content of the request is no JSON object", "send an object")
    return content
