"""A flame graph as inline SVG, the root on top, without a script: what is under a frame is what it called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from harness.report import figures
from harness.report.drawings import ChartTable
from harness.report.figures import decimals_for, ms
from harness.report.lines import stage_label
from harness.report.palette import stage_variable
from harness.report.text import visible
from harness.views import Flame, FlameNode

WIDTH, ROW = 960, 22
MOST_ROWS = 40
MOST_FRAMES = 1_500
"""Drawn of one graph, the widest first: more make a page heavy, not clearer."""
MOST_LINES = 15
_LETTER = 6.7  # mean width of a letter of 12 px
_LEAST = 1.0  # px


@dataclass(frozen=True, slots=True)
class _Frame:
    node: FlameNode
    depth: int
    from_s: float
    path: tuple[str, ...]

    @property
    def own_s(self) -> float:
        return max(0.0, self.node.weight_s - sum(child.weight_s for child in self.node.children))


def render(flame: Flame, key: str) -> Markup:
    """The drawing; nothing where there is no time. `key` is unique in the page."""
    whole_s = flame.root.weight_s
    if not whole_s > 0:
        return Markup()
    widest = sorted(_frames(flame.root), key=lambda frame: (-frame.node.weight_s, frame.depth))
    drawn = [f for f in widest[:MOST_FRAMES] if f.depth < MOST_ROWS and f.node.weight_s / whole_s * WIDTH >= _LEAST]
    height = ROW * (max(frame.depth for frame in drawn) + 1)
    rows = "".join(_drawn(frame, whole_s) for frame in sorted(drawn, key=lambda f: (f.depth, f.from_s)))
    return Markup(  # noqa: S704 - every text in it is escaped
        f'<svg class="flame" id="{Markup.escape(key)}" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{Markup.escape(label(flame))}" font-size="12">{rows}</svg>'
    )


def label(flame: Flame) -> str:
    """The drawing in a sentence, for those who do not see it."""
    whole_s = flame.root.weight_s
    top = sorted(flame.root.children, key=lambda child: -child.weight_s)[:3]
    parts = ", ".join(f"{_name(child)} {figures.share(child.weight_s / whole_s)}" for child in top if whole_s > 0)
    title = visible(flame.title, 80)
    return f"Flame graph of {title}: {_ms(whole_s, whole_s)}{f', of it {parts}' if parts else ''}. A table follows."


def table(flame: Flame) -> ChartTable:
    """The frames with the most time of their own, all calls of one frame together."""
    whole_s = flame.root.weight_s
    own: dict[tuple[str, str], float] = {}
    total: dict[tuple[str, str], float] = {}
    for frame in _frames(flame.root):
        called = (_path_name(frame), frame.node.where or "")
        own[called] = own.get(called, 0.0) + frame.own_s
        if called[0] not in frame.path:  # a call of itself is in the time of the outer one
            total[called] = total.get(called, 0.0) + frame.node.weight_s
    ranked = sorted((c for c in own if own[c] > 0), key=lambda c: -own[c])[:MOST_LINES]
    number = partial(ms, decimals=decimals_for(whole_s))
    places = any(where for _, where in ranked)
    columns = ("frame", "own time (ms)", "share", "with what it calls (ms)", *(("where",) if places else ()))
    lines = tuple(
        (name, number(own[name, where]), figures.share(own[name, where] / whole_s), number(total.get((name, where))),
         *((visible(where, 120),) if places else ()))
        for name, where in ranked
    )  # fmt: skip
    return ChartTable(f"Most time of their own: {visible(flame.title, 80)}", columns, lines)


def _frames(root: FlameNode) -> Iterator[_Frame]:
    """Every frame, outer ones first."""
    waiting = [_Frame(root, 0, 0.0, ())]
    while waiting:
        frame = waiting.pop()
        yield frame
        at_s = frame.from_s
        for child in frame.node.children:
            waiting.append(_Frame(child, frame.depth + 1, at_s, (*frame.path, _path_name(frame))))
            at_s += child.weight_s


def _path_name(frame: _Frame) -> str:
    """A model or resource with its stage; else the name of the frame."""
    node = frame.node
    name = _name(node)
    return f"{stage_label(node.stage)}: {name}" if node.stage is not None and node.label != node.stage else name


def _name(node: FlameNode) -> str:
    return stage_label(node.stage) if node.stage is not None and node.label == node.stage else visible(node.label, 80)


def _ms(seconds: float, whole_s: float) -> str:
    return f"{ms(seconds, decimals_for(whole_s))} ms"


def _drawn(frame: _Frame, whole_s: float) -> str:
    node = frame.node
    x, width = frame.from_s / whole_s * WIDTH, node.weight_s / whole_s * WIDTH
    y = frame.depth * ROW
    share = figures.share(node.weight_s / whole_s)
    where = f", {visible(node.where, 160)}" if node.where else ""
    told = " / ".join((*frame.path[1:], _path_name(frame))[-6:])
    own = f", {_ms(frame.own_s, whole_s)} its own" if node.children else ""
    title = Markup.escape(f"{told}: {_ms(node.weight_s, whole_s)}, {share}{own}{where}")
    box = f'x="{x:.2f}" y="{y}" width="{max(width - 1, 0.5):.2f}" height="{ROW - 2}"'
    words = Markup.escape(_fitting(_name(node), _ms(node.weight_s, whole_s), width - 8))
    text = f'<text x="{x + 5:.2f}" y="{y + 14.5}" fill="var(--ink)">{words}</text>' if words else ""
    return f'<g><title>{title}</title><rect {box} rx="2" {_fill(frame)}/>{text}</g>'


def _fitting(name: str, figure: str, width: float) -> str:
    """As much of the name as fits, with its figure where there is room for both."""
    letters = int(width / _LETTER)
    if len(name) + len(figure) + 2 <= letters:
        return f"{name}  {figure}"
    if len(name) <= letters:
        return name
    return f"{name[: letters - 1]}…" if letters >= 4 else ""


def _fill(frame: _Frame) -> str:
    """A tint that leaves the words readable on a light and on a dark page."""
    if frame.depth == 0:
        return 'fill="var(--ink-soft)" fill-opacity="0.16"'
    if frame.node.stage is not None:
        return f'fill="var({stage_variable(frame.node.stage)})" fill-opacity="0.42"'
    hue = int.from_bytes(hashlib.blake2s(_of_one_file(frame.node), digest_size=2).digest(), "big") % 360
    return f'fill="hsl({hue} 55% 50%)" fill-opacity="0.26"'


def _of_one_file(node: FlameNode) -> bytes:
    """Frames of one file have one hue."""
    file = node.where.rpartition(":")[0] if node.where else node.label
    return file.encode("utf-8", "replace")
