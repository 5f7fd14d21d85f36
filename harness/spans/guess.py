"""A guess at the stages of spans by the words in their names: a start for a scenario's `stages`, no more."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable

# The first that fits: `decode_output` comes after the model though `decode` comes before it.
_WORDS = (
    ("queue", r"queue|\bwait|acquire|\block\b|semaphore|enqueue"),
    ("postprocess", r"post.?proc|\bnms\b|non.?max|detoken|decode.?(out|text|box|result|logit|ctc)|argmax|softmax|"
     r"format|render|serialis|serializ|to.?json|threshold|draw|annotat"),
    ("preprocess", r"pre.?proc|decode|resiz|crop|token|normali|augment|feature|load.?(image|audio)|read.?(image|audio)|"
     r"imdecode|transform|resampl|vectori|parse|pad\b|rescale"),
    ("inference", r"infer|predict|forward|model|session|\brun\b|generate|generation|embed|classif|detect|recogni|"
     r"segment|encod|transcri|rank|score"),
)  # fmt: skip
_PATTERNS = tuple((stage, re.compile(words)) for stage, words in _WORDS)


# A route is the name of what was asked for, not of the work: `POST /predict`, `/v1/models/{name}:predict`.
_ROUTE = re.compile(r"(?:\b(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|CONNECT|TRACE)\b\s*)|(?:(?<!\S)/\S*)")
# What web frameworks and their instrumentation put around and between the user's code.
_FRAMEWORK = re.compile(r"^(middleware|request handler|router)\b|\b(http|websocket) (send|receive)$", re.IGNORECASE)
BODY_WAIT = re.compile(r"\bhttp receive$")
"""Spans of ASGI instrumentation around each wait for a part of the body: the preset fastapi calls them upload."""


def is_framework(name: str) -> bool:
    """Whether a span is what a web framework puts around the user's code."""
    return _FRAMEWORK.search(name) is not None


def guess(names: Iterable[str]) -> dict[str, list[str]]:
    """The stages with the names that sound like them, as globs; names that sound like nothing are left out.

    A span's own name counts, not the route or the HTTP method in it, and not what a framework calls its own spans.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        if is_framework(name):
            continue
        own = _ROUTE.sub(" ", name)
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", own).lower().replace("_", " ").replace("-", " ")
        stage = next((stage for stage, pattern in _PATTERNS if pattern.search(words)), None)
        if stage is not None and name.isprintable() and not name.startswith("attr:"):
            found.setdefault(stage, []).append(glob.escape(name))
    return found
