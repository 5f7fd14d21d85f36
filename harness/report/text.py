"""Text from outside, made safe to look at: short, on one line, with nothing invisible in it.

Escaping for a format (HTML, Markdown, XML) is that format's own business and comes after this.
"""

from __future__ import annotations

import unicodedata

LONGEST = 160
"""Characters of a name that are shown; a longer one is shortened in the middle, with its length said."""
LONGEST_WORD = 24
"""A longer one is cut: it is a name of somebody else's."""

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})
_NAMES = {"\x00": "⟨NUL⟩", "\t": "⟨TAB⟩", "\n": "⟨LF⟩", "\r": "⟨CR⟩", "\x1b": "⟨ESC⟩"}  # few fonts have the pictures


def visible(text: str, longest: int = LONGEST) -> str:
    """The text on one line: controls, direction marks and unpaired surrogates as signs one can see."""
    return "".join(map(_sign, shortened(text, longest)))


def shortened(text: str, longest: int = LONGEST) -> str:
    """The head and the tail of a text longer than `longest`, with its length between them; never longer than it was."""
    if len(text) <= longest:
        return text
    head = longest * 2 // 3
    tail = longest // 4
    begin, end = _at_a_word(text[:head]), _at_a_word(text[-tail:][::-1])[::-1]
    cut = f"{begin} … ({len(text):,} characters) … {end}"
    return cut if len(cut) < len(text) else text


def _at_a_word(part: str) -> str:
    """Without the word that it ends within, if that is no longer than most."""
    whole, space, rest = part.rpartition(" ")
    return whole if space and whole and len(rest) <= LONGEST_WORD else part


def _sign(char: str) -> str:
    if char.isprintable():  # the fast way out; also every letter of every script
        return char
    if char in _NAMES:
        return _NAMES[char]
    if unicodedata.category(char) in _INVISIBLE:
        return f"⟨U+{ord(char):04X}⟩"
    return char
