"""The routes. The event loop reads bodies and writes answers; everything that computes runs in worker threads."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

import anyio.to_thread
import cv2
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from harness.instrument import instrument, stage
from sample_service.batches import Batches
from sample_service.classify import Kind, classify, labelled, prepared
from sample_service.faults import faults_on_the_loop, slowed
from sample_service.models import Models, load_models
from sample_service.page_image import LEAST_BYTES, MOST_BYTES, page_image
from sample_service.reading import Page, read_page
from sample_service.recognise import LANGUAGES, alphabet
from sample_service.refused import Refused
from sample_service.settings import Settings
from sample_service.uploads import form_file, is_form, read_body

log = logging.getLogger("sample_service")

Language = Literal["any", "en", "latin"]
T = TypeVar("T")


@dataclass(slots=True)
class Service:
    """What the routes share. `models` is None until they are loaded and warmed."""

    settings: Settings
    limiter: anyio.CapacityLimiter
    batches: Batches | None = None  # of /v1/identify; without, each request calls the model on its own
    models: Models | None = None
    alphabets: dict[str, Any] = field(default_factory=dict)

    def ready_models(self) -> Models:
        if self.models is None:
            raise Refused(503, "the models are still loading; /readyz says when they are ready")
        return self.models

    async def work(self, job: Callable[..., T], *arguments: Any) -> T:
        """Run a computation in the worker pool: what waits for a free thread is the queue of this service."""
        await faults_on_the_loop()
        with _answered_when_stopped():
            return await anyio.to_thread.run_sync(job, *arguments, limiter=self.limiter, abandon_on_cancel=True)

    async def classify(self, models: Models, content: Callable[[], bytes]) -> Kind:
        """The kind of what `content` gives, which is asked for it in the worker pool."""
        if self.batches is None:
            return await self.work(lambda: classify(models, content()))
        ends = await self.work(lambda: prepared(models.kinds, content()))
        if isinstance(ends, Kind):
            return ends
        with _answered_when_stopped():
            return labelled(models.kinds, await self.batches.run(ends))


@contextmanager
def _answered_when_stopped() -> Iterator[None]:
    """The server cancels what is left at the end of its grace period: that is answered, too."""
    try:
        yield
    except asyncio.CancelledError:
        raise Refused(503, "the service is stopping") from None


def create_app(settings: Settings, on_start: Callable[[Exception | None], None] = lambda _: None) -> FastAPI:
    """The service, instrumented. `on_start` is told once: None when the models are ready, or what went wrong."""
    cv2.setNumThreads(1)  # one core per worker thread; more would hide how many are busy
    batches = Batches(settings.identify_batch) if settings.identify_batch is not None else None
    service = Service(settings, anyio.CapacityLimiter(settings.reader_threads), batches)
    app = FastAPI(title="Document reading", version="1", lifespan=_lifespan(service, on_start))
    app.state.service = service
    _add_routes(app, service)
    _add_refusals(app)
    instrument(app)
    return app


def _lifespan(service: Service, on_start: Callable[[Exception | None], None]) -> Callable[..., Any]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(_load(service, on_start))
        yield
        loading.cancel()

    return lifespan


async def _load(service: Service, on_start: Callable[[Exception | None], None]) -> None:
    began = time.perf_counter()
    try:
        models = await anyio.to_thread.run_sync(_load_and_warm, service.settings, abandon_on_cancel=True)
    except Exception as error:
        log.error("the models cannot be loaded: %s", error)
        on_start(error)
        return
    service.alphabets = {language: alphabet(models.characters, language) for language in LANGUAGES}
    service.models = models
    log.info("models loaded and warmed in %.1f s", time.perf_counter() - began)
    on_start(None)
    if service.batches is not None:
        await service.batches.serve(models.magika)


def _load_and_warm(settings: Settings) -> Models:
    """Load the models and read two drawn pages, so that the first caller does not pay for first-time work."""
    models = load_models(settings.onnx_intra_threads, settings.onnx_inter_threads, settings.onnx_spin)
    for size in (30_000, 100_000):
        read_page(models, page_image(size), None, settings.max_pixels)
    return models


def _add_routes(app: FastAPI, service: Service) -> None:
    most = service.settings.max_upload_bytes

    @app.post("/v1/read", openapi_extra=_body("image", form_only=True))
    async def read(request: Request, lang: Annotated[Language, Query()] = "any") -> Page:
        """Read the text on an image (jpeg, png, webp or bmp), from the top down."""
        models = service.ready_models()
        body = await read_body(request, most)
        content_type = request.headers.get("content-type", "")
        if not is_form(content_type):
            raise Refused(415, "send the image as multipart/form-data, in a file field named 'image'")
        alphabet_of_lang = service.alphabets[lang]

        def job() -> Page:
            with stage("preprocess", "multipart"), slowed("preprocess"):
                content = form_file(body, content_type, "image")
            return read_page(models, content, alphabet_of_lang, service.settings.max_pixels)

        return await service.work(job)

    @app.post("/v1/identify", openapi_extra=_body("file", form_only=False))
    async def identify(request: Request) -> Kind:
        """Say what kind of file the body is: the bare bytes, or a multipart form with a file field `file`."""
        models = service.ready_models()
        body = await read_body(request, most)
        content_type = request.headers.get("content-type", "")
        if not body:
            raise Refused(422, "the body is empty: there is nothing to identify")

        def content() -> bytes:
            if not is_form(content_type):
                return body
            with stage("preprocess", "multipart"), slowed("preprocess"):
                return form_file(body, content_type, "file")

        return await service.classify(models, content)

    @app.get("/v1/page-image", response_class=Response, responses={200: {"content": {"image/bmp": {}}}})
    async def drawn_page(size: Annotated[int, Query(alias="bytes", ge=LEAST_BYTES, le=MOST_BYTES)]) -> Response:
        """A page of text as a bmp file of exactly that many bytes: a large answer to download."""

        def job() -> bytes:
            with stage("postprocess", "draw"), slowed("postprocess"):
                return page_image(size)

        return Response(await service.work(job), media_type="image/bmp")

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process is alive and its event loop turns."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        """The models are loaded and warmed; 503 before."""
        service.ready_models()
        return {"status": "ready"}


def _body(field_name: str, form_only: bool) -> dict[str, Any]:
    """The request body for the OpenAPI document: the routes read it themselves, to stop at the limit."""
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    form = {"schema": {"type": "object", "required": [field_name], "properties": {field_name: file}}}
    bare = {} if form_only else {"application/octet-stream": {"schema": file}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": form, **bare}}}


def _add_refusals(app: FastAPI) -> None:
    """Every refusal has the shape {"detail": one sentence}."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        headers = {"retry-after": "1"} if error.status == 503 else None
        return JSONResponse({"detail": error.sentence}, error.status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = " ".join(str(part) for part in first["loc"])
        return JSONResponse({"detail": f"{where}: {first['msg']}"}, 422)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=400)  # nobody is left to read it
