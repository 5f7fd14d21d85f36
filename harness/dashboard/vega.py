"""The chart library for the browser, bundled by the package that also draws the charts of a report."""

from __future__ import annotations

import functools
import gzip
import hashlib
import threading
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

router = APIRouter()
_MAKING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Bundle:
    """A module that sets `window.vegaEmbed`."""

    script: bytes
    zipped: bytes
    etag: str


def make_ahead() -> None:
    """Start to make the bundle, which takes seconds; who asks for it meanwhile waits."""
    threading.Thread(target=bundle, name="vega", daemon=True).start()


def bundle() -> Bundle:
    """The bundle, made once."""
    with _MAKING:  # a cache alone would let two make it at a time
        return _made()


@functools.cache
def _made() -> Bundle:
    import vl_convert  # a second that the first page does without

    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").encode()
    return Bundle(script, gzip.compress(script, 6), f'"{hashlib.sha256(script).hexdigest()[:20]}"')


@router.get("/static/vega.js")
def vega_script(request: Request) -> Response:
    made = bundle()
    headers = {"ETag": made.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == made.etag:
        return Response(status_code=304, headers=headers)
    zipped = "gzip" in request.headers.get("accept-encoding", "")
    if zipped:
        headers["Content-Encoding"] = "gzip"
    return Response(made.zipped if zipped else made.script, media_type="text/javascript", headers=headers)
