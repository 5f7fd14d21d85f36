"""Two stored runs side by side as GitHub-flavoured Markdown, for a comment on a pull request."""

from __future__ import annotations

from harness.comparison import CompareFindings
from harness.report.compare_text import BESIDE, NOT_COMPARABLE, Table, run_line, runs, tables
from harness.report.markdown_text import bullets, escaped, table


def render(found: CompareFindings) -> str:
    """What is said, the runs and how they differ, then the tables, the long ones folded."""
    unlike = [f"⚠️ {escaped(d.sentence)}" for d in found.differences if d.matters]
    beside = [escaped(d.sentence) for d in found.differences if not d.matters]
    blocks = [
        f"## {escaped(found.b.run_id)} against {escaped(found.a.run_id)}",
        f"**{NOT_COMPARABLE}**\n\n{bullets(unlike)}" if unlike else "",
        bullets(escaped(sentence, 600) for sentence in found.sentences),
        bullets(f"{name}: {escaped(run_line(run))}" for name, run in runs(found)),
        f"{BESIDE}:\n\n{bullets(beside)}" if beside else "",
        *(_table(each, folded=number > 1) for number, each in enumerate(tables(found))),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _table(made: Table, *, folded: bool) -> str:
    rows = [tuple(_cell(cell) for cell in row) for row in made.rows]
    drawn = table(made.columns, rows, made.words)
    note = f"\n\n<sub>{escaped(made.note, 2_000)}</sub>" if made.note else ""
    if folded:
        return f"<details><summary>{escaped(made.title)}</summary>\n\n{drawn}{note}\n\n</details>"
    return f"### {escaped(made.title)}\n\n{drawn}{note}"


def _cell(text: str) -> str:
    indent = len(text) - len(text.lstrip(" "))
    return "&nbsp;" * indent + escaped(text.lstrip(" "))
