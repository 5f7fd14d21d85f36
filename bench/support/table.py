"""Tables on stdout, and the line that says whether a promise holds."""

from __future__ import annotations

from collections.abc import Sequence


def show(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as they must be: the first to the left, the others to the right."""
    texts = [[str(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(headers))]
    for row in texts:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip(), flush=True)


def line(promise: str, holds: bool) -> bool:
    """Print one line of what was promised; hand `holds` on."""
    print(f"{'holds' if holds else 'DOES NOT HOLD'}: {promise}", flush=True)
    return holds
