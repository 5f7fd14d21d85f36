"""The `tls:` section: whom a https target must be, and who we are to it."""

from __future__ import annotations

from pathlib import Path

from harness.errors import ScenarioError
from harness.model import TlsSpec
from harness.scenario.document import Entry, Node
from harness.scenario.files import payload_paths
from harness.scenario.values import choice_of, fields_of


def read_tls(node: Node, folder: Path) -> TlsSpec:
    """The TLS options. Raises ScenarioError, also for files that are not there."""
    fields = fields_of(node, "tls", ("ca", "cert", "key", "insecure"))
    insecure = (
        "insecure" in fields and choice_of(fields["insecure"].node, "insecure in tls", ("true", "false")) == "true"
    )
    if insecure and "ca" in fields:
        raise ScenarioError("tls has both ca and insecure", "keep one of the two", fields["insecure"].where)
    if "key" in fields and "cert" not in fields:
        raise ScenarioError("tls has a key but no cert", "add cert: client.pem", fields["key"].where)
    return TlsSpec(
        ca=_file(fields.get("ca"), "ca in tls", folder),
        cert=_file(fields.get("cert"), "cert in tls", folder),
        key=_file(fields.get("key"), "key in tls", folder),
        insecure=insecure,
    )


def _file(entry: Entry | None, what: str, folder: Path) -> str | None:
    if entry is None:
        return None
    paths = payload_paths(entry.node, what, folder)
    if len(paths) > 1:
        raise ScenarioError(f"{what} names {len(paths)} files", "name one", entry.where)
    return paths[0]
