"""``spotify-dag app``: serve the pages and the API."""

from __future__ import annotations

import logging
import socket
from typing import Annotated

import typer

from spotify_dag.app.problems import AppError
from spotify_dag.console import clear_errors, err, open_project

PORT = 7860


def app(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 for all addresses of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = PORT,
) -> None:
    """Serve the pages and the API. It follows each newly published version, and needs no Dagster."""
    with clear_errors():
        project = open_project(context)
        project.check_layout()
        _check_free(host, port)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
        logging.getLogger("httpx").setLevel(logging.WARNING)
        from spotify_dag.app.asgi import serve

        err.print(f"Pages: http://{host}:{port}   API: http://{host}:{port}/api/v1/docs   Stop with Ctrl+C.")
        serve(project, host, port)


def _check_free(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise AppError(500, f"Cannot listen at {host}:{port}: {error.strerror}. Choose another --port.") from None
