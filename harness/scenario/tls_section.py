"""The `tls:` section: whom a https target must be, and who we are to it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from harness.errors import ScenarioError
from harness.model import TlsSpec
from harness.scenario.document import Entry, Node
from harness.scenario.files import payload_paths
from harness.scenario.values import choice_of, fields_of


def read_tls(node: Node, folder: Path) -> TlsSpec:
    """The TLS options. Raises ScenarioError, also for files that are not there, or not what they should be."""
    fields = fields_of(node, "tls", ("ca", "cert", "key", "insecure"))
    insecure = (
        "insecure" in fields and choice_of(fields["insecure"].node, "insecure in tls", ("true", "false")) == "true"
    )
    if insecure and "ca" in fields:
        raise ScenarioError("tls has both ca and insecure", "keep one of the two", fields["insecure"].where)
    if "key" in fields and "cert" not in fields:
        raise ScenarioError("tls has a key but no cert", "add cert: client.pem", fields["key"].where)
    spec = TlsSpec(
        ca=_file(fields.get("ca"), "ca in tls", folder),
        cert=_file(fields.get("cert"), "cert in tls", folder),
        key=_file(fields.get("key"), "key in tls", folder),
        insecure=insecure,
    )
    _try_out(spec, fields)
    return spec


def _try_out(spec: TlsSpec, fields: Mapping[str, Entry]) -> None:
    """Load the files as a connection would, so that the first request is not the one to find out."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if spec.ca is not None:
        try:
            context.load_verify_locations(spec.ca)
        except (ssl.SSLError, OSError):
            hint = "one or more certificates in PEM form; `openssl x509 -inform der -in FILE` writes a binary one so"
            raise ScenarioError("ca in tls holds no certificate", hint, fields["ca"].where) from None
    if spec.cert is None:
        return
    try:
        context.load_cert_chain(spec.cert, spec.key, password=_refuse_to_ask)
    except _Encrypted:
        hint = "give one without: `openssl pkey -in KEY -out PLAIN`, readable by you alone"
        where = fields["key" if spec.key else "cert"].where
        raise ScenarioError("the key in tls is protected by a passphrase", hint, where) from None
    except (ssl.SSLError, OSError) as error:
        raise _unusable(spec, fields, getattr(error, "reason", None) or "") from None


def _unusable(spec: TlsSpec, fields: Mapping[str, Entry], reason: str) -> ScenarioError:
    if reason == "KEY_VALUES_MISMATCH" and spec.key is not None:
        return ScenarioError(
            "the key in tls does not belong to the cert", "give the key the cert was made for", fields["key"].where
        )
    if spec.key is None:
        hint = "add key: client.key, or a PEM file with certificate and key"
        return ScenarioError("cert in tls holds no certificate with its key", hint, fields["cert"].where)
    return ScenarioError("cert and key in tls cannot be used", "both in PEM form, the key alone", fields["cert"].where)


class _Encrypted(Exception):  # noqa: N818 - said by the library's question for a passphrase
    """The key is protected by a passphrase."""


def _refuse_to_ask() -> str:
    raise _Encrypted


def _file(entry: Entry | None, what: str, folder: Path) -> str | None:
    if entry is None:
        return None
    paths = payload_paths(entry.node, what, folder)
    if len(paths) > 1:
        raise ScenarioError(f"{what} names {len(paths)} files", "name one", entry.where)
    return paths[0]
