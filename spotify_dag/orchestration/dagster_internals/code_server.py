"""How often the server that holds the definitions is asked whether it is still the same one."""

from __future__ import annotations

from dagster._grpc import server_watcher

WATCH_SECONDS = 5
"""Dagster asks every second, from every process; each question takes processor time on both sides."""


def ask_less_often() -> None:
    """Have this process ask every `WATCH_SECONDS`."""
    server_watcher.WATCH_INTERVAL = WATCH_SECONDS
