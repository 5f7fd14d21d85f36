"""One colour per stage, used by every chart, bar and table; light and dark.

The hues follow Okabe and Ito's set for colour-blind readers: blues carry transfer, orange waits, green prepares,
vermilion infers, purple finishes, greys are what nobody claims.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours a drawing needs. Values are anything CSS accepts; `stages` is keyed by stage name."""

    name: str
    page: str
    surface: str
    ink: str
    ink_soft: str
    line: str
    good: str
    attention: str
    bad: str
    accent: str
    stages: dict[str, str]


LIGHT = Theme(
    name="light",
    page="#f5f6f8",
    surface="#ffffff",
    ink="#1b1f27",
    ink_soft="#596273",
    line="#dfe3e9",
    good="#12794a",
    attention="#945800",
    bad="#b3261e",
    accent="#1f5fa8",
    stages={
        "backlog": "#7b3550",
        "connect": "#9dcdf0",
        "upload": "#4a9fd8",
        "queue_est": "#f3cf7f",
        "queue": "#e69f00",
        "preprocess": "#009e73",
        "inference": "#d55e00",
        "postprocess": "#cc79a7",
        "other": "#4b5261",
        "download": "#0d6fb0",
        "unsplit": "#c3c8d0",
        "transfer": "#2f87c4",
    },
)

DARK = Theme(
    name="dark",
    page="#0e1116",
    surface="#171b22",
    ink="#e8ebf0",
    ink_soft="#a3acba",
    line="#2c333d",
    good="#4cc38a",
    attention="#f0b34c",
    bad="#ff7b72",
    accent="#6db3f2",
    stages={
        "backlog": "#b0607f",
        "connect": "#a9d6f5",
        "upload": "#5aaee6",
        "queue_est": "#f6dca0",
        "queue": "#eeb02b",
        "preprocess": "#1fb588",
        "inference": "#e8762b",
        "postprocess": "#d98fb8",
        "other": "#687182",
        "download": "#2b86c9",
        "unsplit": "#b9c0cb",
        "transfer": "#3f97d4",
    },
)

_PLAIN = ("page", "surface", "ink", "ink_soft", "line", "good", "attention", "bad", "accent")


def stage_variable(stage: str) -> str:
    """The CSS variable that holds a stage's colour; a stage without one, as in a damaged file, is grey."""
    if stage not in LIGHT.stages:
        return "--ink-soft"
    return f"--stage-{stage.replace('_', '-')}"


IN_PAGE = Theme(
    name="page",
    stages={stage: f"var({stage_variable(stage)})" for stage in LIGHT.stages},
    **{name: f"var(--{name.replace('_', '-')})" for name in _PLAIN},
)
"""For drawings inside a page that defines the variables: they then follow the reader's light or dark."""


def css_variables(theme: Theme) -> str:
    """Declarations of every colour of a theme, for one CSS rule."""
    plain = [f"--{name.replace('_', '-')}: {getattr(theme, name)};" for name in _PLAIN]
    stages = [f"{stage_variable(stage)}: {colour};" for stage, colour in theme.stages.items()]
    return "\n  ".join([*plain, *stages])


def in_colours(text: str, theme: Theme) -> str:
    """The text with the colours of a theme in place of the variables of IN_PAGE."""
    for name in _PLAIN:
        text = text.replace(getattr(IN_PAGE, name), getattr(theme, name))
    for stage, variable in IN_PAGE.stages.items():
        text = text.replace(variable, theme.stages[stage])
    return text
