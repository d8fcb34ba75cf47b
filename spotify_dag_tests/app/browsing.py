"""What tests of pages do in the browser, and how it is started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from samples.app_world import user_id
from spotify_dag.app.texts import Texts, texts_in
from spotify_dag_tests.app.conftest import Served

ENGLISH = texts_in("en")
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


def show_what_is_stored(page: Any, served: Served, user: str, say: Texts = ENGLISH) -> None:
    page.locator("#sd-token-box input").fill(served.service.identity.file_token(user))
    page.get_by_role("button", name=say("mine-show")).click()
    page.get_by_text(say("counts-hint")).wait_for()


def open_tab(page: Any, title: str) -> None:
    if page.get_by_role("tab", name=title, exact=True).is_visible():
        page.get_by_role("tab", name=title, exact=True).click()
    else:  # on a phone, behind a menu
        page.locator(".overflow-menu > button").click()
        page.locator(".overflow-dropdown button", has_text=title).click()


def _compare(page: Any, served: Served, say: Texts) -> None:
    (nearest,) = served.client.get(f"/api/v1/users/{user_id(7)}/matches", params={"k": 1}).json()["matches"]
    page.get_by_label(say("compare-one")).fill(user_id(7))
    page.get_by_label(say("compare-other")).fill(nearest["user_id"])
    page.get_by_role("button", name=say("compare"), exact=True).click()
    page.locator(".sd-compare").wait_for()


def _blend(page: Any, served: Served, say: Texts) -> None:
    for number in (7, 8):
        page.get_by_label(say("blend-who")).fill(user_id(number))
        page.keyboard.press("Enter")
        page.locator(".sd-people li", has_text=user_id(number)).wait_for()
    page.get_by_role("button", name=say("blend-make")).click()
    page.locator(".sd-tracks:visible li").first.wait_for()


def _map(page: Any, served: Served, say: Texts) -> None:
    page.frame_locator("iframe.sd-map").locator("#legend li").first.wait_for()


def _search(page: Any, served: Served, say: Texts) -> None:
    page.get_by_label(say("search-tracks")).fill("Frank Ocen")
    page.get_by_role("button", name=say("search"), exact=True).click()
    page.locator(".sd-tracks:visible li").first.wait_for()


def _continue(page: Any, served: Served, say: Texts) -> None:
    found = served.client.get("/api/v1/search", params={"q": "Frank Ocean", "k": 3}).json()["tracks"]
    page.get_by_placeholder(say("continue-tracks-begin")).fill(
        "\n".join(f"spotify:track:{track['track_id']}" for track in found)
    )
    page.get_by_placeholder(say("continue-mood-begin")).fill("calm evening")
    page.get_by_role("button", name=say("continue"), exact=True).click()
    page.locator(".sd-tracks:visible li").first.wait_for()


def _mine(page: Any, served: Served, say: Texts) -> None:
    show_what_is_stored(page, served, user_id(7), say)


PAGES: dict[str, tuple[str, Callable[[Any, Served, Texts], None]]] = {
    "find": ("find", lambda page, served, say: None),
    "tab-compare": ("compare", _compare),
    "tab-blend": ("blend", _blend),
    "tab-map": ("map", _map),
    "tab-search": ("search", _search),
    "tab-continue": ("continue", _continue),
    "tab-mine": ("mine", _mine),
}
"""Messages of the titles of the pages, names of their pictures, and what is done on them first."""
