"""`instrument(app)`: put the measurement around an application."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from harness.instrument import pipeline, threadpool, vitals
from harness.instrument.middleware import Application, Instrumented
from harness.instrument.wsgi import WsgiInstrumented

App = TypeVar("App", bound=Callable[..., Any])

_DONE = "_harness_instrumented"


def instrument(app: App, *, kind: Literal["asgi", "wsgi"] | None = None) -> App:
    """Measure every HTTP request of an ASGI or WSGI application.

    A Starlette, FastAPI or Flask application is wrapped in place, outside every middleware, whenever those are added,
    and returned. Any other callable is returned wrapped: serve what this function returns. A second call changes
    nothing. `kind` decides where the arguments of a callable do not show what it is, as those of `def app(*args)`.
    Raises TypeError for anything that is not an application.
    """
    _refuse_others(app, kind)
    pipeline.preload()
    vitals.prepare()
    threadpool.install_if_used()
    if isinstance(app, Instrumented | WsgiInstrumented):
        return app
    if hasattr(app, "build_middleware_stack"):
        _wrap_in_place(app)
        return app
    if kind == "asgi" or (kind is None and (_is_async(app) or not _is_wsgi(app))):
        return _measured(app)  # type: ignore[return-value]
    if hasattr(app, "wsgi_app"):
        _wrap_wsgi_in_place(app)
        return app
    return WsgiInstrumented(app)  # type: ignore[return-value]


def _measured(app: Application) -> Instrumented:
    return Instrumented(vitals.watched(app) if vitals.is_on() else app)


def _wrap_in_place(app: Any) -> None:
    """Calls of the application come to us first: it gets a class of its own, derived from the one it had.

    What the application is made of stays as it is. Other instrumentations take its middleware stack apart, and give up
    when they find a layer they do not know.
    """
    if getattr(app, _DONE, False):
        return
    kind = type(app)
    measured = _measured(functools.partial(kind.__call__, app))

    async def call(self: object, scope: Any, receive: Any, send: Any) -> None:
        await measured(scope, receive, send)

    own = {"__call__": call, "__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    app.__class__ = types.new_class(kind.__name__, (kind,), exec_body=lambda names: names.update(own))
    setattr(app, _DONE, True)


def _wrap_wsgi_in_place(app: Any) -> None:
    if not getattr(app, _DONE, False):
        app.wsgi_app = WsgiInstrumented(app.wsgi_app)
        setattr(app, _DONE, True)


def _refuse_others(app: object, kind: str | None) -> None:
    if isinstance(app, type) or not callable(app):
        raise TypeError(f"instrument() needs an ASGI or WSGI application object, got {app!r}")
    if kind not in (None, "asgi", "wsgi"):
        raise TypeError(f'instrument() takes kind="asgi" or kind="wsgi", not {kind!r}')
    if kind is not None or _is_async(app) or _is_known(app):
        return
    if _required_arguments(app) == 1:
        raise TypeError("instrument() got an application of the old ASGI 2 style; it needs app(scope, receive, send)")
    if _takes_anything(app):
        raise TypeError(
            f"instrument() cannot tell whether {app!r} is an ASGI or a WSGI application, since it takes any arguments; "
            'write instrument(app, kind="wsgi") or instrument(app, kind="asgi")'
        )


def _is_known(app: object) -> bool:
    return isinstance(app, WsgiInstrumented) or hasattr(app, "build_middleware_stack") or hasattr(app, "wsgi_app")


def _takes_anything(app: Callable[..., Any]) -> bool:
    """A decorator that did not use `functools.wraps` hides what it wraps."""
    try:
        parameters = [*inspect.signature(app).parameters.values()]
    except (TypeError, ValueError):
        return False
    named = sum(
        p.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for p in parameters
    )
    return named < 2 and any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)


def _is_wsgi(app: Callable[..., Any]) -> bool:
    return hasattr(app, "wsgi_app") or _required_arguments(app) == 2


def _is_async(app: object) -> bool:
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(type(app), "__call__", None))  # noqa: B004


def _required_arguments(app: Callable[..., Any]) -> int | None:
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.kind in positional and p.default is inspect.Parameter.empty for p in parameters)
