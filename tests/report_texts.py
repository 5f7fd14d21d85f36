"""A summary as people read it in each format, for the tests of the reports."""

from __future__ import annotations

import re

from harness.findings import Summary
from harness.report import console, html, markdown


def texts(summary: Summary) -> dict[str, str]:
    """The summary in each format that people read; the page without markup and without its list of words."""
    page = html.render(summary, None).partition("</nav>")[2].partition('id="words"')[0]
    page = re.sub(r"<[^>]+>", "", re.sub(r"(</t[hd]>|</dt>)", r"\1 ", page))
    return {
        "console": console.render(summary, width=120, colour=False),
        "html": re.sub(r"\s+", " ", page),
        "markdown": markdown.render(summary),
    }
