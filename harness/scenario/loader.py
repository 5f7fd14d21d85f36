"""A scenario file and the flags that override it -> Scenario."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ScenarioError
from harness.model import RequestSpec, Scenario, SpanSpec, TlsSpec
from harness.scenario.document import EMPTY_HINT, Block, Entry, Items, Node, Scalar, parse_document
from harness.scenario.files import read_text
from harness.scenario.load_section import read_load
from harness.scenario.redaction import redacted
from harness.scenario.request_section import read_requests
from harness.scenario.span_section import read_slos, read_spans
from harness.scenario.target import parse_target
from harness.scenario.tls_section import read_tls
from harness.scenario.user_class import find_user, split_user
from harness.scenario.values import fields_of, parsed, text_of
from harness.units import quoted

RATE_OF_PYTHON_SCENARIOS = "1/s"

_KEYS = ("scenario", "target", "requests", "users", "load", "spans", "slo", "tls")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Overrides:
    """Flags that replace what the scenario says, as typed; None leaves the scenario alone. `slo` adds lines."""

    target: str | None = None
    arrivals: str | None = None
    rate: str | None = None
    users: str | None = None
    duration: str | None = None
    warmup: str | None = None
    drain: str | None = None
    seed: str | None = None
    listen: str | None = None
    source: str | None = None
    slo: tuple[str, ...] = ()


def load_scenario(
    path: str | Path, overrides: Overrides | None = None, environ: Mapping[str, str] | None = None
) -> Scenario:
    """Read and check a scenario: a YAML file, or "flow.py" / "flow.py:ReceiptUser".

    `${NAME}` is looked up in `environ` (os.environ). Raises ScenarioError for everything that cannot be run.
    """
    shown = str(path)
    environ = os.environ if environ is None else environ
    file, user = split_user(shown)
    if file.endswith(".py"):
        several = overrides is not None and overrides.users is not None
        name = find_user(Path(file), user, several=several).rpartition(":")[2]
        text = f"users: {Path(file).name}:{name}\nload: {{rate: {RATE_OF_PYTHON_SCENARIOS}}}\n"
        shown = file
    else:
        text = read_text(Path(shown), "scenario")
        if not text.strip():
            raise ScenarioError("the scenario is empty", EMPTY_HINT, shown)
    written = parse_document(text, shown, environ)
    root = _overridden(written, overrides or Overrides())
    return _scenario(root, Path(file), redacted(text, written))


def _scenario(root: Node, path: Path, source: str) -> Scenario:
    fields = fields_of(root, "the scenario", _KEYS)
    if "target" not in fields:
        flag = "--target http://127.0.0.1:8000"
        hint = f"add {flag}" if path.suffix == ".py" else f"add target: http://127.0.0.1:8000 to it, or {flag}"
        raise ScenarioError("the scenario has no target", hint, str(path))
    if "load" not in fields:
        raise ScenarioError("the scenario has no load", "add load: {rate: 4/s}, or --rate 4/s", root.where)
    requests, users = _work(fields, root, path.parent)
    spans = read_spans(fields["spans"].node, path.parent) if "spans" in fields else SpanSpec()
    names = [request.name for request in requests] if users is None else None
    load = read_load(fields["load"].node, path.parent, names)
    return Scenario(
        name=_name(fields.get("scenario"), path),
        target=parsed(fields["target"].node, "target", parse_target),
        requests=requests,
        users=users,
        load=load,
        spans=spans,
        slo=read_slos(fields["slo"].node, spans, names, len(load.steps)) if "slo" in fields else (),
        path=str(path),
        source=source,
        tls=read_tls(fields["tls"].node, path.parent) if "tls" in fields else TlsSpec(),
    )


def _work(fields: Mapping[str, Entry], root: Node, folder: Path) -> tuple[tuple[RequestSpec, ...], str | None]:
    """Either requests or a user class."""
    if "requests" in fields and "users" in fields:
        raise ScenarioError("the scenario has both requests and users", "keep one of the two", fields["users"].where)
    if "requests" in fields:
        return read_requests(fields["requests"].node, folder), None
    if "users" not in fields:
        hint = "add requests: with at least one `- http: POST /v1/read`"
        raise ScenarioError("the scenario sends nothing: it has neither requests nor users", hint, root.where)
    node = fields["users"].node
    file, name = split_user(text_of(node, "users").strip())
    if name is None:
        raise ScenarioError(f"users {quoted(file)} names no class", "write users: flow.py:ReceiptUser", node.where)
    return (), find_user(folder / file, name, node.where, folder)


def _name(entry: Entry | None, path: Path) -> str:
    """The name becomes part of a folder's name, so it is kept plain."""
    if entry is None:
        return _plain(path.stem)
    name = text_of(entry.node, "scenario").strip()
    if not _NAME.fullmatch(name):
        problem = f"scenario name {quoted(name)} cannot be part of a folder name"
        raise ScenarioError(problem, f"write scenario: {_plain(name)}", entry.where)
    return name


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:40] or "scenario"


# --- overrides ---------------------------------------------------------------------------------------------
# They are put into the tree, so that the same code checks them and `--rate` is the place its refusals name.


def _overridden(root: Node, overrides: Overrides) -> Node:
    root = _with(root, "target", _flag("target", overrides.target))
    if overrides.rate is not None and overrides.users is not None:
        raise ScenarioError("--rate and --users do not go together", "arrivals have a rate, a closed loop has users")
    if overrides.rate is not None or overrides.users is not None:
        root = _without_amount(root, closed=overrides.users is not None)
    for key in ("arrivals", "rate", "users", "duration", "warmup", "drain", "seed"):
        root = _in_section(root, "load", key, _flag(key, getattr(overrides, key)))
    for key in ("listen", "source"):
        root = _in_section(root, "spans", key, _flag(key, getattr(overrides, key)))
    if overrides.slo:
        root = _with_slos(root, overrides.slo)
    return root


def _without_amount(root: Node, *, closed: bool) -> Node:
    """The scenario without what --rate or --users replaces, and without what only went with that."""
    dropped = {"rate", "steps", "ramp", "spike", "users", "replay"}
    load = (
        next((entry.node for entry in root.entries if entry.key == "load"), None) if isinstance(root, Block) else None
    )
    for entry in load.entries if isinstance(load, Block) else ():
        loop = isinstance(entry.node, Scalar) and entry.node.raw in ("users", "replay")
        if (entry.key == "arrivals" and (closed or loop)) or (entry.key == "think" and not closed):
            dropped.add(entry.key)
    for key in dropped:
        root = _in_section(root, "load", key, None, drop=True)
    return root


def _flag(name: str, value: str | None) -> Scalar | None:
    return None if value is None else Scalar(value, f"--{name}")


def _with(node: Node, key: str, value: Node | None, *, drop: bool = False) -> Node:
    """The block with `key` replaced, or dropped. Anything but a block is left for its reader to refuse."""
    if not isinstance(node, Block) or (value is None and not drop):
        return node
    others = tuple(entry for entry in node.entries if entry.key != key)
    return Block(others if value is None else (*others, Entry(key, value.where, value)), node.where)


def _in_section(root: Node, section: str, key: str, value: Scalar | None, *, drop: bool = False) -> Node:
    if not isinstance(root, Block) or (value is None and not drop):
        return root
    current = next((entry.node for entry in root.entries if entry.key == section), None)
    if current is None:
        return root if value is None else _with(root, section, Block((Entry(key, value.where, value),), value.where))
    return _with(root, section, _with(current, key, value, drop=drop))


def _with_slos(root: Node, lines: tuple[str, ...]) -> Node:
    if not isinstance(root, Block):
        return root
    added = tuple(Scalar(line, "--slo", plain=False) for line in lines)
    current = next((entry.node for entry in root.entries if entry.key == "slo"), Items((), "--slo"))
    return _with(root, "slo", Items((*current.nodes, *added), current.where)) if isinstance(current, Items) else root
