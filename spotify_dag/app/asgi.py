"""The app as one ASGI application, and serving it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import uvicorn

from spotify_dag.als import one_blas_thread
from spotify_dag.app.connections import Connections, raise_file_limit, trusted_proxies
from spotify_dag.app.guard import API, Guard
from spotify_dag.app.problems import Problem, add_handlers
from spotify_dag.app.service import Service, keep_what_is_loaded
from spotify_dag.app.telemetry import Watched

if TYPE_CHECKING:
    from types import FrameType

    from fastapi import FastAPI

    from spotify_dag.project import Project

GRACE_SECONDS = 1
"""How long open connections have to end when the app does."""
END_SECONDS = 2.5
"""After so long the app is gone, whatever still runs."""
SWITCH_SECONDS = 0.0005
"""How long a thread keeps others from running Python: searches go by in short steps, which would wait 5 ms each."""
DESCRIPTION = (
    "Listeners with the same taste, and why they match. Errors are problem details (RFC 9457). Listeners are shown "
    "only if they agreed; what concerns one of them alone needs their login or their token."
)


def create_app(project: Project, *, pages: bool = True, host: str | None = None) -> FastAPI:
    """Return the app of a data root, with its pages or the API alone; ``host`` is the name it is to listen at."""
    from fastapi import FastAPI
    from fastapi.responses import HTMLResponse

    from spotify_dag.app.api import add_otherwise, add_routes
    from spotify_dag.app.docs_page import page

    service = Service(project)
    # What takes longest begins first, beside the making of the pages.
    service.start()

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        keep_what_is_loaded()
        try:
            yield
        finally:
            service.stop()

    app = FastAPI(
        title="spotify_dag", version="1", description=DESCRIPTION, lifespan=life, docs_url=None, redoc_url=None,
        openapi_url=f"{API}/openapi.json",
    )  # fmt: skip
    app.state.service = service
    add_handlers(app)
    add_routes(app, service)
    _describe(app)

    @app.get(f"{API}/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()))

    add_otherwise(app)

    if pages:
        offline()
        from spotify_dag.app.pages import add_pages

        add_pages(app, service)
    app.add_middleware(Watched, telemetry=service.telemetry)
    app.add_middleware(Guard, settings=project.settings, newcomers=service.newcomer_rate, host=host)
    return app


def serve(project: Project, host: str, port: int) -> None:
    """Serve until interrupted; then end within five seconds, and leave nothing behind."""
    raise_file_limit()
    sys.setswitchinterval(SWITCH_SECONDS)
    server = Server(create_app(project, host=host), project, host, port)
    # Many ask at once: threads of one search would wait for one another, and take the time of other answers.
    with one_blas_thread(), suppress(KeyboardInterrupt):  # uvicorn sends itself the signal again once it has ended
        server.run()


class Server(uvicorn.Server):
    """uvicorn with the limits of the settings, and with an end that nothing can hold up.

    Parameters
    ----------
    app
        Made by `create_app`.
    project
        The data root.
    host, port
        Where to listen.
    """

    def __init__(self, app: FastAPI, project: Project, host: str = "127.0.0.1", port: int = 0) -> None:
        settings = project.settings
        # Without a proxy in front, this machine is one client like any other.
        proxies = trusted_proxies() if settings.app_url else frozenset()
        connections = Connections(settings.app_connections_per_client, settings.app_connections, proxies)
        super().__init__(
            uvicorn.Config(
                app, host=host, port=port, http=connections.protocol(), ws="none", log_level="warning",
                # Requests are logged by route (telemetry.py): uvicorn's own line would hold ids of users.
                access_log=False, server_header=False, timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )  # fmt: skip
        self._service: Service = app.state.service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end."""
        self._service.jobs.cancel()
        threading.Thread(target=self._end, name="end", daemon=True).start()
        super().handle_exit(sig, frame)

    def _end(self) -> None:
        time.sleep(END_SECONDS)
        self._service.workspace.close()
        os._exit(1)


def offline() -> None:
    """Keep Gradio from telling its makers that it runs, and from asking anybody for anything."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = "1"


def _describe(app: FastAPI) -> None:
    """Make the description of the API speak of problems where FastAPI would of its own errors."""
    made = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = made()
            schema["components"]["schemas"]["Problem"] = Problem.model_json_schema()
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
