"""What tests of pages do in the browser, and how it is started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from samples.app_world import user_id
from spotify_dag_tests.app.conftest import Served

ARTISTS = ["Usher", "Prince", "Beyoncé", "Frank Ocean"] * 10


@contextmanager
def file_of(name: str, content: bytes, folder: Path) -> Iterator[Path]:
    path = folder / name
    path.write_bytes(content)
    yield path
    path.unlink()


def profile_box(page: Any) -> Any:
    return page.get_by_placeholder("https://open.spotify.com/user/…")


def log_in(page: Any, number: int) -> None:
    """Log in by way of the simulated Spotify."""
    page.get_by_role("tab", name="My data").click()
    page.get_by_role("link", name="Log in with Spotify").click()
    page.get_by_label("Log in as").fill(user_id(number))
    page.get_by_role("button", name="Agree").click()
    page.get_by_text("You are").first.wait_for()


def show_what_is_stored(page: Any, served: Served, user: str) -> None:
    page.locator("#sd-token-box input").fill(served.service.identity.file_token(user))
    page.get_by_role("button", name="Show what is stored").click()
    page.get_by_text("Press what does not count").wait_for()
