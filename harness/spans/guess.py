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


def guess(names: Iterable[str]) -> dict[str, list[str]]:
    """The stages with the names that sound like them, as globs; names that sound like nothing are left out."""
    found: dict[str, list[str]] = {}
    for name in names:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower().replace("_", " ").replace("-", " ")
        stage = next((stage for stage, pattern in _PATTERNS if pattern.search(words)), None)
        if stage is not None and name.isprintable() and not name.startswith("attr:"):
            found.setdefault(stage, []).append(glob.escape(name))
    return found
