"""How a https target is trusted, and how the client shows who it is."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import gevent.ssl

from harness.errors import ScenarioError
from harness.model import TlsSpec

_SYSTEM = TlsSpec()


def tls_context(spec: TlsSpec = _SYSTEM) -> Any:
    """An SSLContext under gevent. One per process: building it costs tens of milliseconds of CPU.

    Raises ScenarioError for a file that cannot be read or does not hold what it should.
    """
    context = _loaded(spec.ca, "certificate authority", lambda: gevent.ssl.create_default_context(cafile=spec.ca))
    if spec.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if spec.key is not None and spec.cert is None:
        raise ScenarioError("there is a key and no client certificate", "name the certificate too, or leave both out")
    if spec.cert is not None:
        whose = spec.cert if spec.key is None else f"{spec.cert} with the key {spec.key}"
        # An encrypted key would make OpenSSL ask for its password on the terminal.
        _loaded(whose, "client certificate", lambda: context.load_cert_chain(spec.cert, spec.key, password=""))
    return context


def _loaded(path: str | None, what: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except ssl.SSLError as error:
        why = "they do not belong together" if error.reason == "KEY_VALUES_MISMATCH" else "it is no such PEM file"
        hint = "PEM files are text with BEGIN and END lines; a key must not be encrypted"
        raise ScenarioError(f"cannot use the {what} {path}: {why}", hint) from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ScenarioError(f"cannot read the {what} {path}: {why}", "check the path and who may read it") from None
