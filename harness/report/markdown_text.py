"""Pieces of Markdown that text from outside cannot break: escaping, lists, tables.

Text that came from outside is written with character references: they cannot open a table cell, emphasis, a link,
HTML or a mention, whatever they spell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from harness.report.text import visible

_REFERENCES = {ord(c): f"&#{ord(c)};" for c in "&<>`*_{}[]|\\~$^"}
# Hosts look for mentions and issue numbers after references were decoded: the comment breaks the word.
_REFERENCES |= {ord(c): f"&#{ord(c)};<!-- -->" for c in "@#"}
_BARE_LINK = re.compile(r"(?i)(https?|ftp|www)([:.])")


def escaped(text: str, longest: int = 400) -> str:
    """Text that Markdown, HTML and the host's own extensions leave alone, on one line."""
    inert = visible(text, longest).translate(_REFERENCES)
    return _BARE_LINK.sub(lambda m: f"{m[1]}&#{ord(m[2])};", inert)


def named(text: str) -> str:
    """A name from outside, set as code."""
    return f"<code>{escaped(text, 120)}</code>"


def bullets(texts: Iterable[str]) -> str:
    """A list. The texts are Markdown already."""
    return "\n".join(f"- {text}" for text in texts)


def nested(lines: Iterable[str], indent: str = "  ") -> list[str]:
    """Items one level below another item: `indent` is as wide as that item's mark."""
    return [f"{indent}- {line}" for line in lines]


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], words: Sequence[int] = (0,)) -> str:
    """A table of Markdown cells whose columns are figures, but for the ones named in `words`."""
    rules = ["---" if i in words else "---:" for i in range(len(columns))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, rules, *rows))
