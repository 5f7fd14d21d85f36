"""Tables of the terminal summary: plain rules, no box, columns of figures to the right."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD, Box
from rich.console import JustifyMethod
from rich.padding import Padding
from rich.table import Table
from rich.text import Text


def blank(title: str, box: Box = SIMPLE_HEAD) -> Table:
    """A table without columns."""
    heading = Text(title, "bold") if title else None
    return Table(title=heading, title_justify="left", title_style="", box=box, show_edge=False, pad_edge=False)


def table(title: str, columns: Sequence[str], words: Sequence[int] = (0,)) -> Table:
    """A table whose columns are figures, but for the ones named in `words`."""
    made = blank(title)
    for i, column in enumerate(columns):
        wraps = i in words
        justify: JustifyMethod = "left" if wraps or i == 0 else "right"
        made.add_column(Text(column, "dim"), justify=justify, no_wrap=not wraps, overflow="fold")
    return made


def indented(text: str, by: int, style: str = "dim") -> Padding:
    """A line below another one, set in from the left; it wraps inside."""
    return Padding(Text(text, style), (0, 0, 0, by))
