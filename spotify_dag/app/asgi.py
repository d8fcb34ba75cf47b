"""The app as one ASGI application, and serving it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from spotify_dag.app.guard import API, Guard
from spotify_dag.app.no_files import NoFiles
from spotify_dag.app.problems import Problem, add_handlers
from spotify_dag.app.service import Service, keep_what_is_loaded
from spotify_dag.app.telemetry import Watched

if TYPE_CHECKING:
    from fastapi import FastAPI

    from spotify_dag.project import Project

DESCRIPTION = (
    "Who listens like whom, and why. Errors are problem details (RFC 9457). Listeners are shown only if they agreed; "
    "what concerns one of them alone needs their login or their token."
)


def create_app(project: Project, *, pages: bool = True) -> FastAPI:
    """Return the app of a data root; with its pages, or the API alone."""
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
        app.add_middleware(NoFiles)
        from spotify_dag.app.pages import add_pages

        add_pages(app, service)
    app.add_middleware(Watched, telemetry=service.telemetry)
    app.add_middleware(Guard, settings=project.settings, newcomers=service.newcomer_rate)
    return app


def serve(project: Project, host: str, port: int) -> None:
    """Serve until interrupted."""
    import uvicorn

    # Requests are logged by route (telemetry.py): uvicorn's own line would hold ids of users.
    uvicorn.run(create_app(project), host=host, port=port, access_log=False, log_level="warning", server_header=False)


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
