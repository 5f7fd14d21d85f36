"""A declared chart on its way out: into a page as SVG, into a file as PNG, into the browser as its specification.

Nothing is fetched: the renderer is bundled, and no address is allowed.
"""

from __future__ import annotations

import json
import re
import textwrap
from typing import TYPE_CHECKING, Any

import vl_convert

from harness.report.charts.parts import FONT, AnyChart
from harness.report.palette import LIGHT, Theme, in_colours

if TYPE_CHECKING:
    from harness.report.drawings import Drawing

_LONG_FRACTION = re.compile(r"(\d\.\d{2})\d{2,}")
_IDLE = re.compile(
    r' (?:pointer-events="none"|role="graphics-[a-z]+"|aria-roledescription="[^"]*"|opacity="1"|class="[^"<>]*"'
    rf'|font-family="{FONT}"|font-weight="normal"|(?<!svg )aria-hidden="true")(?=[ />])'
)
_EMPTY = re.compile(r'<path(?: d="(?:M0,0h0v0h0Z)?"| display="none")+/>')
_SAME = re.compile(r'<path d="(M[-\d.]+,[-\d.]+h[-\d.]+v[-\d.]+h[-\d.]+Z)"([^>]*)/>(?:<path d="M[-\d.,hvZ]+"\2/>)+')
_ID = re.compile(r'\bid="([^"]+)"')


def _declared(chart: AnyChart) -> dict[str, Any]:
    """The specification; the tests have it validated, which takes longer than to draw it."""
    made: dict[str, Any] = chart.to_dict(validate=False)
    return made


def svg(chart: AnyChart) -> str:
    """A standalone SVG document in the colours the chart was declared in."""
    text: str = vl_convert.vegalite_to_svg(_declared(chart), allowed_base_urls=[])
    return text


def inline_svg(chart: AnyChart, key: str) -> str:
    """The SVG to stand in an HTML page: scales with the page, ids prefixed with `key`, coordinates of 0.01 px.

    What the page has no use for is left out: roles of marks that nobody hears (the figure has words), empty shapes.
    """
    text = svg(chart)
    opening = rf'<svg \1 aria-hidden="true" focusable="false" font-family="{FONT}">'
    text = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', opening, text, count=1)
    head, _, body = text.partition(">")
    body = _EMPTY.sub("", _IDLE.sub("", body))
    body = _LONG_FRACTION.sub(r"\1", body)
    for name in set(_ID.findall(body)):
        body = body.replace(f'id="{name}"', f'id="{key}-{name}"').replace(f"url(#{name})", f"url(#{key}-{name})")
    return f"{head}>{_SAME.sub(_as_one, body)}"


def _as_one(found: re.Match[str]) -> str:
    """Rectangles of one colour that follow each other, as one path."""
    places = "".join(re.findall(r' d="([^"]*)"', found[0]))
    return f'<path d="{places}"{found[2]}/>'


def spec(drawing: Drawing) -> dict[str, Any]:
    """The Vega-Lite specification for a browser: as wide as its element, which is to have a width."""
    return as_wide_as_its_element(drawing.chart)


def as_wide_as_its_element(chart: AnyChart) -> dict[str, Any]:
    """The specification of a chart that follows the width of its element.

    Its marks have no words of their own, which a browser takes long to make and nobody hears: the figure has some.
    """
    made = _declared(chart)
    quiet = {**made.get("config", {}), "aria": False}
    return {**made, "config": quiet, "width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}


def png(drawing: Drawing, theme: Theme = LIGHT, scale: float = 2.0) -> bytes:
    """The picture as a file, on the theme's surface."""
    image: bytes = vl_convert.vegalite_to_png(_document(drawing, theme), scale=scale, allowed_base_urls=[])
    return image


def svg_document(drawing: Drawing, theme: Theme = LIGHT) -> str:
    """The picture as a standalone SVG file, on the theme's surface."""
    text: str = vl_convert.vegalite_to_svg(_document(drawing, theme), allowed_base_urls=[])
    return text


def _document(drawing: Drawing, theme: Theme) -> str:
    """The specification with its title, and the colours of a theme in place of a page's variables."""
    title = {
        "text": drawing.title, "subtitle": textwrap.wrap(drawing.note, 130), "anchor": "start", "color": theme.ink,
        "subtitleColor": theme.ink_soft, "font": FONT, "subtitleFont": FONT, "fontSize": 15, "subtitleFontSize": 12,
        "subtitleLineHeight": 16, "offset": 14, "frame": "group",
    }  # fmt: skip
    made = {**_declared(drawing.chart), "title": title, "background": theme.surface, "padding": 16}
    return in_colours(json.dumps(made), theme)
