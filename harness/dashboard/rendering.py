"""Templates into answers: every page of the dashboard is made here, and everything in it is escaped."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from harness import __version__
from harness.report import templating
from harness.report.palette import DARK, LIGHT, css_variables

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the navigation."""

    title: str
    path: str


NAVIGATION = (Place("Runs", "/"), Place("Live", "/live"), Place("Compare", "/compare"), Place("Capacity", "/capacity"))


def page(request: Request, template: str, status: int = 200, **context: object) -> HTMLResponse:
    """A page from `templates/`, with what base.html.j2 asks for: the token, the navigation and where in it we are."""
    settings = request.app.state.settings
    shell = {
        "token": settings.token,
        "navigation": NAVIGATION,
        "here": _here(request.url.path),
        "version": __version__,
        "settings": settings,
    }
    return HTMLResponse(environment().get_template(template).render(**(shell | context)), status)


def theme() -> str:
    """The report's style sheet: a page and a report look like siblings because they share it."""
    return (
        environment()
        .get_template("report.css")
        .render(
            light_variables=Markup(css_variables(LIGHT)),  # noqa: S704 - constants of ours
            dark_variables=Markup(css_variables(DARK)),  # noqa: S704 - constants of ours
        )
    )


@functools.cache
def environment() -> jinja2.Environment:
    """Templates of the dashboard, then those of the report, whose parts pages include."""
    return templating.environment(TEMPLATES)


def _here(path: str) -> str:
    """The entry of the navigation that a path belongs to; pages of a run belong to the runs."""
    below = [place.path for place in NAVIGATION[1:] if path == place.path or path.startswith(f"{place.path}/")]
    return below[0] if below else "/"
