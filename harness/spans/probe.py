"""One look at a trace store before the load: what cannot work is better known before anything was sent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from harness.errors import UsageError
from harness.model import RunWarning, SpanSpec
from harness.scenario.span_section import STORE_TOKEN, STORES
from harness.scenario.target import is_loopback
from harness.spans import jaeger, tempo
from harness.spans.stored import JSON

TIMEOUT_S = 3.0
_APIS = {"jaeger": jaeger.APIS, "tempo": tempo.APIS}
_NO_TRACE = "0" * 31 + "1"
_PORTS = "is this the port of its query API (Jaeger 16686, Tempo 3200)?"


def probe(spec: SpanSpec, environ: Mapping[str, str] = os.environ) -> list[RunWarning]:
    """Ask the store of `spec` for a trace that is not there; nothing to do for other sources.

    Raises UsageError when it cannot be reached or wants another token. What answers oddly is a warning: it may have
    come to its senses when the load is over.
    """
    if spec.source not in STORES or spec.address is None:
        return []
    token = environ.get(STORE_TOKEN)
    headers = {"Accept": JSON} | ({"Authorization": f"Bearer {token}"} if token and token.isascii() else {})
    trusted = not is_loopback(urlsplit(spec.address).hostname or "")  # a proxy cannot reach this machine
    odd = ""
    with httpx.Client(headers=headers, timeout=TIMEOUT_S, trust_env=trusted) as client:
        for api in _APIS[spec.source]:
            path, params = api.trace(_NO_TRACE)
            try:
                with client.stream("GET", f"{spec.address}{path}", params=params) as response:
                    odd = _oddity(spec.address, response)
            except httpx.ConnectError as error:
                reason = (str(error).splitlines() or ["no connection"])[0][:120]
                message = f"the trace store at {spec.address} does not answer: {reason}"
                raise UsageError(message, f"is it running, and {_PORTS} Nothing was sent to the target") from None
            except httpx.TimeoutException:
                odd = f"it said nothing for {TIMEOUT_S:g} s"
            except httpx.HTTPError as error:
                odd = (str(error).splitlines() or [type(error).__name__])[0][:120]
            if not odd:
                return []
    message = f"what answers at {spec.address} may be no {spec.source.capitalize()}, asked before the load: {odd}"
    return [RunWarning("span_store", message, _PORTS)]


def _oddity(address: str, response: httpx.Response) -> str:
    """What a store would not answer; nothing for what one may. Raises UsageError for a refusal."""
    if response.status_code in (401, 403):
        message = f"the trace store at {address} refuses to answer ({response.status_code})"
        raise UsageError(message, f"set a token that it takes in {STORE_TOKEN}: it is sent as a bearer token")
    if response.status_code >= 500 or 300 <= response.status_code < 400:
        return f"it answers {response.status_code}"
    return "it answers with a web page" if "html" in response.headers.get("content-type", "").lower() else ""
