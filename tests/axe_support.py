"""What axe-core finds on a page, in light and in dark."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from tests.node_packages import NODE_MODULES, lacking, why_no_packages

if TYPE_CHECKING:
    from playwright.sync_api import Page

SERIOUS = ("serious", "critical")
COLOURS = ["color-contrast", "link-in-text-block"]


@cache
def _source() -> str:
    return (NODE_MODULES / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def axe(page: Page) -> list[str]:
    """The serious and critical violations: one line for each element. Colours are looked at in both themes."""
    lacking(why_no_packages())
    page.evaluate(_source())  # through the debugger: the page's own policy stays as it is
    theme = "dark" if page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") else "light"
    other = "light" if theme == "dark" else "dark"
    lines = [f"{theme}: {line}" for line in _run(page, {})]
    page.emulate_media(color_scheme=other)
    lines += [f"{other}: {line}" for line in _run(page, {"runOnly": {"type": "rule", "values": COLOURS}})]
    page.emulate_media(color_scheme=theme)
    return lines


def _run(page: Page, options: dict[str, Any]) -> list[str]:
    found = page.evaluate(
        "options => axe.run(document, options)", {"resultTypes": ["violations"], "iframes": False, **options}
    )
    return [
        f"{violation['impact']} {violation['id']} at {' '.join(map(str, node['target']))}: {_why(node, violation)}"
        for violation in found["violations"]
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ]


def _why(node: dict[str, Any], violation: dict[str, Any]) -> str:
    """The first reason of the element, which has its figures; else what the rule asks for."""
    reasons = [check["message"] for key in ("any", "all", "none") for check in node[key]]
    return str(reasons[0] if reasons else violation["help"])
