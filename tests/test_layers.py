"""The module map of the design is the import order: a module imports only what stands above it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "harness"

LAYERS = (
    "errors", "interrupt", "units", "timebase", "model", "chunks", "slo", "scenario", "arrivals", "instrument",
    "load", "spans", "environment", "run_folder", "tags", "tables", "mapped", "skew", "clock", "join", "windows",
    "charge", "ingress", "ledger", "estimates", "diagnosis", "findings", "comparison", "views", "record", "waterfall",
    "flames", "following", "metrics",
    "analysis",
    "counting", "evidence", "gate", "described", "diagnose", "conclude", "viewing", "versus", "baseline", "generator",
    "report", "stored_run", "export",
    "draft", "deciding", "run", "services", "pairs", "ab", "noise", "history", "demo", "pytest_plugin",
    "dashboard", "commands", "cli",
    "__main__",
)  # fmt: skip


def layer_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "harness" and len(parts) > 1 else None


def harness_imports(path: Path) -> set[str]:
    """Every harness module a file imports, lazily or not."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layer"
            module = node.module or ""
            found |= {f"{module}.{alias.name}" for alias in node.names} if module == "harness" else {module}
    return {name for name in found if layer_of(name)}


SOURCES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.name != "__init__.py")


def test_every_module_has_its_place_in_the_map() -> None:
    names = {p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in SOURCES}

    assert names <= set(LAYERS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_what_stands_above_it(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    allowed = {*LAYERS[: LAYERS.index(own) + 1], "__version__"}

    imported = {layer_of(name) for name in harness_imports(path)}

    assert imported <= allowed


def test_the_service_side_imports_nothing_a_tester_needs() -> None:
    allowed = {"instrument", "timebase"}
    for path in (PACKAGE / "instrument").rglob("*.py"):
        assert {layer_of(name) for name in harness_imports(path)} <= allowed, path


def test_gevent_and_locust_live_in_load_only() -> None:
    for path in SOURCES:
        if path.is_relative_to(PACKAGE / "load"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert not {"gevent", "locust", "geventhttpclient"} & {n.split(".")[0] for n in names}, path
