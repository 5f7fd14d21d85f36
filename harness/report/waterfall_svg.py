"""One request as inline SVG: a row a bar, the client's above, the service's below, on one axis in milliseconds.

Colours are the page's variables and everything is an attribute, so that it is the same in a report without scripts and
in a page that allows no styles. Names and times stand in columns of their own: nothing is written on a colour.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup, escape

from harness.report.drawings import ChartTable
from harness.report.figures import decimals_for, ms
from harness.report.lines import stage_label
from harness.report.palette import stage_variable
from harness.report.text import visible
from harness.views import Bar, Lane, Waterfall

_WIDTH = 940.0
_NAMES = 214.0  # width of the column of names
_LASTS = 286.0  # right edge of the column of durations
_PLOT = (306.0, 932.0)
_ROW, _BAR = 20.0, 12.0
_HEAD, _LANE = 26.0, 24.0
_INDENT, _DEEPEST = 11.0, 6
_FONT, _SMALL = 12.0, 11.0
_LEAST = 1.6  # of a bar, so that it can be seen
_LANES = {Lane.CLIENT: "client", Lane.SERVER: "service"}
_MOST_TICKS = 8
_MARGIN = 0.01


@dataclass(frozen=True, slots=True)
class _Line:
    """A row of the drawing: one bar, or all the stretches that nobody claims."""

    bars: tuple[Bar, ...]

    @property
    def first(self) -> Bar:
        return self.bars[0]

    @property
    def lasts_s(self) -> float:
        return sum(bar.until_s - bar.from_s for bar in self.bars)


@dataclass(frozen=True, slots=True)
class _Scale:
    from_s: float
    until_s: float

    def x(self, at_s: float) -> float:
        share = (min(max(at_s, self.from_s), self.until_s) - self.from_s) / (self.until_s - self.from_s)
        return _PLOT[0] + share * (_PLOT[1] - _PLOT[0])


def render(waterfall: Waterfall, key: str) -> Markup:
    """The drawing; `key` is unique in the page and makes the ids in it so."""
    scale = _scale(waterfall)
    parts: list[str] = []
    y = _HEAD
    for lane, name in _LANES.items():
        lines = _lines(waterfall, lane)
        if lines:
            parts.append(_lane_head(name, y))
            y += _LANE
            for line in lines:
                parts.append(_drawn(line, y, scale, waterfall, key))
                y += _ROW
            y += 4
    height = y + 4
    grid = "".join(_grid(scale, waterfall, height))
    return Markup(  # noqa: S704 - every text in it is escaped
        f'<svg class="waterfall" viewBox="0 0 {_WIDTH:g} {height:g}" role="img" '
        f'aria-label="{escape(label(waterfall))}" font-size="{_FONT:g}">'
        f"{_hatch(key)}{grid}{''.join(parts)}</svg>"
    )


def label(waterfall: Waterfall) -> str:
    """The drawing in a sentence, for those who do not see it."""
    longest = sorted(
        (bar for bar in waterfall.bars if bar.lane is Lane.SERVER and bar.depth > 0),
        key=lambda bar: bar.from_s - bar.until_s,
    )[:2]
    decimals = decimals_for(waterfall.latency_s)
    said = ", ".join(f"{visible(bar.label, 60)} {ms(bar.until_s - bar.from_s, decimals)} ms" for bar in longest)
    whole = f"{ms(waterfall.latency_s, decimals)} ms, {visible(waterfall.outcome, 60)}"
    rest = f"; longest in the service: {said}" if said else "; no server part"
    return f"Request {waterfall.request_id} {visible(waterfall.name, 60)}: {whole}{rest}. A table follows."


def table(waterfall: Waterfall) -> ChartTable:
    """The bars as text, in the order they are drawn."""
    decimals = _decimals(waterfall)
    rows = tuple(
        (
            _LANES[line.first.lane],
            visible(_name(line), 100),
            "" if line.first.stage is None else stage_label(line.first.stage),
            ms(line.first.from_s, decimals),
            ms(line.lasts_s, decimals),
        )
        for lane in _LANES
        for line in _lines(waterfall, lane)
    )
    caption = f"Request {waterfall.request_id}, instant by instant"
    return ChartTable(caption, ("seen by", "what", "stage", "begins (ms)", "lasts (ms)"), rows)


def _decimals(waterfall: Waterfall) -> int:
    """Of a request's milliseconds: short parts of a long one are still told."""
    return max(2, decimals_for(waterfall.latency_s)) if waterfall.latency_s < 10 else 1


def _lines(waterfall: Waterfall, lane: Lane) -> list[_Line]:
    """One line a bar; the time that nobody claims is one line at the end."""
    bars = [bar for bar in waterfall.bars if bar.lane is lane]
    unclaimed = tuple(bar for bar in bars if bar.stage == "other" and bar.span_id is None)
    lines = [_Line((bar,)) for bar in bars if bar not in unclaimed]
    return [*lines, _Line(unclaimed)] if unclaimed else lines


def _name(line: _Line) -> str:
    return f"{line.first.label} ({len(line.bars)} ×)" if len(line.bars) > 1 else line.first.label


# --- axis --------------------------------------------------------------------------------------------------


def _scale(waterfall: Waterfall) -> _Scale:
    ends = [0.0, waterfall.latency_s]
    ends += [end for bar in waterfall.bars for end in (bar.from_s, bar.until_s)]
    finite = [end for end in ends if math.isfinite(end)]
    since, until = min(finite), max(finite)
    until = max(until, since + 1e-6)
    room = _MARGIN * (until - since)
    return _Scale(since if since == 0 else since - room, until + room)


def ticks(from_s: float, until_s: float, most: int = _MOST_TICKS) -> list[float]:
    """Round instants, seconds: multiples of 1, 2 or 5 times a power of ten, at most `most` of them."""
    length = until_s - from_s
    if not (math.isfinite(length) and length > 0):
        return []
    power = 10.0 ** math.floor(math.log10(length / most))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if length / (power * factor) <= most - 1)
    first, last = math.ceil(from_s / step - 1e-9), math.floor(until_s / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _grid(scale: _Scale, waterfall: Waterfall, height: float) -> Iterator[str]:
    at = ticks(scale.from_s, scale.until_s)
    step_ms = (at[1] - at[0]) * 1e3 if len(at) > 1 else 1.0
    decimals = max(0, -math.floor(math.log10(step_ms) + 1e-9))
    bottom = height - 6
    for instant in at:
        x = scale.x(instant)
        yield _line(x, bottom, 'stroke="var(--line)"')
        text = f"{instant * 1e3:,.{decimals}f}"
        yield _text(x, _HEAD - 10, text, "var(--ink-soft)", anchor="middle", size=_SMALL)
    yield _text(0, _HEAD - 10, "ms since it was scheduled", "var(--ink-soft)", size=_SMALL)
    yield _text(_LASTS, _HEAD - 10, "lasts", "var(--ink-soft)", anchor="end", size=_SMALL)
    if scale.until_s > waterfall.latency_s * (1 + 2 * _MARGIN) or scale.from_s < 0:
        for end in (0.0, waterfall.latency_s):
            yield _line(scale.x(end), bottom, 'stroke="var(--ink-soft)" stroke-dasharray="2 3"')


def _line(x: float, bottom: float, look: str) -> str:
    return f'<path d="M{x:.1f} {_HEAD - 4:g}V{bottom:g}" fill="none" {look}/>'


def _lane_head(name: str, y: float) -> str:
    line = f'<path d="M0 {y + 2:g}H{_WIDTH:g}" stroke="var(--line)" fill="none"/>'
    return line + _text(0, y + 17, name, "var(--ink-soft)", size=_SMALL, weight="600")


# --- bars --------------------------------------------------------------------------------------------------


def _drawn(line: _Line, y: float, scale: _Scale, waterfall: Waterfall, key: str) -> str:
    bar = line.first
    indent = _INDENT * min(bar.depth, _DEEPEST)
    baseline = y + _ROW / 2 + 4.5
    soft = bar.stage is None or bar.stage == "other"
    words = fitting(visible(_name(line), 200), _NAMES - indent, _FONT)
    parts = [
        f"<g><title>{escape(_tooltip(line))}</title>",
        f'<rect y="{y:g}" width="{_WIDTH:g}" height="{_ROW:g}" fill="none" pointer-events="all"/>',
        _text(indent, baseline, words, "var(--ink-soft)" if soft and bar.depth > 0 else "var(--ink)"),
        *(_shape(each, y + (_ROW - _BAR) / 2, scale, key) for each in line.bars),
        _text(_LASTS, baseline, ms(line.lasts_s, _decimals(waterfall)), "var(--ink-soft)", anchor="end"),
        "</g>",
    ]
    return "".join(parts)


def _shape(bar: Bar, y: float, scale: _Scale, key: str) -> str:
    begin, end = scale.x(bar.from_s), scale.x(bar.until_s)
    width = max(end - begin, _LEAST)
    begin = min(begin, _PLOT[1] - width)
    if bar.stage is None:
        shape = _box(begin + 0.5, y + 0.5, max(width - 1, 0.6), _BAR - 1, 'fill="var(--page)" stroke="var(--ink-soft)"')
    else:
        shape = _box(begin, y, width, _BAR, f'fill="var({stage_variable(bar.stage)})"')
    return shape + _doubt(bar, y, scale, key)


def _box(x: float, y: float, width: float, height: float, look: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="{height:g}" rx="2" {look}/>'


def _doubt(bar: Bar, y: float, scale: _Scale, key: str) -> str:
    """Where either end may be, hatched: one stretch where the two meet."""
    if not bar.uncertain_s > 0:
        return ""
    stretches = [(end - bar.uncertain_s, end + bar.uncertain_s) for end in (bar.from_s, bar.until_s)]
    if stretches[0][1] >= stretches[1][0]:
        stretches = [(stretches[0][0], stretches[1][1])]
    found = ""
    for since, until in stretches:
        begin, end = scale.x(since), scale.x(until)
        found += _box(begin, y, max(end - begin, 0.5), _BAR, f'fill="url(#{escape(key)}-doubt)"')
    return found


def _hatch(key: str) -> str:
    return (
        f'<defs><pattern id="{escape(key)}-doubt" width="5" height="5" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><path d="M0 0V5" stroke="var(--ink)" stroke-width="1.6"/></pattern></defs>'
    )


# --- words -------------------------------------------------------------------------------------------------


def _tooltip(line: _Line) -> str:
    bar = line.first
    stage = f", {stage_label(bar.stage)}" if bar.stage is not None else ""
    lines = [visible(_name(line), 200) + stage]
    decimals = decimals_for(max(bar.until_s, line.lasts_s))
    begins, lasts = ms(bar.from_s, decimals), ms(line.lasts_s, decimals)
    doubt = f", ± {ms(bar.uncertain_s, decimals)} ms" if bar.uncertain_s > 0 else ""
    lines.append(f"begins at {begins} ms, lasts {lasts} ms{doubt}")
    lines += [f"{visible(name, 80)}: {visible(value, 200)}" for name, value in bar.details]
    return "\n".join(lines)


def _text(x: float, y: float, words: str, colour: str, *, anchor: str = "", size: float = 0, weight: str = "") -> str:
    more = f' text-anchor="{anchor}"' if anchor else ""
    more += f' font-size="{size:g}"' if size else ""
    more += f' font-weight="{weight}"' if weight else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" direction="ltr"{more}>{escape(words)}</text>'


def fitting(words: str, width: float, size: float) -> str:
    """The words, cut with an ellipsis where they would be wider than `width`, in the units of the drawing."""
    widths = [size * _wide(char) for char in words]
    if sum(widths) <= width:
        return words
    room, kept = width - size, 0
    for each in widths:
        if each > room:
            break
        room -= each
        kept += 1
    return f"{words[:kept].rstrip()}…"


def _wide(char: str) -> float:
    """About how wide a letter is, of the size of its font; rather too much."""
    if unicodedata.east_asian_width(char) in "WF":
        return 1.0
    if char in "iljtfrI.,:;|'! ·()[]/":
        return 0.4
    if char in "mwMW@%":
        return 0.95
    return 0.72 if char.isupper() else 0.62
