"""Every page in a real browser: whether it can be read, fits, and needs no mouse.

``pytest spotify_dag_tests/app/test_page_looks.py --screenshots`` writes the pictures that the documentation shows, of a
larger world that the real graph makes for it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from samples.app_world import user_id
from spotify_dag.project import Project
from spotify_dag.settings import Settings
from spotify_dag_tests.app.browsing import profile_box, show_what_is_stored
from spotify_dag_tests.app.conftest import DESKTOP, PHONE, Served, serving
from spotify_dag_tests.conftest import REPOSITORY

pytestmark = pytest.mark.browser

SHOTS = REPOSITORY / "docs" / "screenshots" / "app"
CONTRAST = """
() => {
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const colour = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return n.length > 3 ? n : [...n, 1]; };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const found = colour(getComputedStyle(e).backgroundColor);
      if (found[3] > 0.5) return found;
    }
    return document.body.classList.contains('dark') ? [0, 0, 0, 1] : [255, 255, 255, 1];
  };
  const bad = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement, style = getComputedStyle(element), box = element.getBoundingClientRect();
    if (!node.data.trim() || !box.width || style.visibility === 'hidden') continue;
    if (element.closest('script,style,noscript')) continue;
    if (!element.checkVisibility({ opacityProperty: true })) continue;
    const [a, b] = [light(colour(style.color)), light(behind(element))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && +style.fontWeight >= 700);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (large ? 3 : 4.5))
      bad.push(`${ratio.toFixed(2)}: ${node.data.trim().slice(0, 40)} ${style.color} on ${behind(element)}`);
  }
  return [...new Set(bad)];
}
"""
STILL = """
() => document.getAnimations().every((one) =>
  one.playState !== 'running' || one.effect.getComputedTiming().iterations === Infinity)
"""
"""Whether everything that fades in has. A busy machine takes seconds for it."""


@pytest.fixture(scope="module")
def shown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The app that every page is looked at of, with tracks; for pictures, with as many users as a picture needs."""
    if not request.config.getoption("--screenshots"):
        yield request.getfixturevalue("with_tracks")
        return
    data = tmp_path_factory.mktemp("shown") / "data"
    command = [sys.executable, "-m", "spotify_dag", "--data", str(data), "run", "--source", "synthetic"]
    subprocess.run([*command, "--users", "500"], check=True, capture_output=True)
    with serving(Project.open(Settings(data=data)), pages=True) as running:
        yield running


def _compare(page: Any, served: Served) -> None:
    (nearest,) = served.client.get(f"/api/v1/users/{user_id(7)}/matches", params={"k": 1}).json()["matches"]
    page.get_by_label("One listener").fill(user_id(7))
    page.get_by_label("Another").fill(nearest["user_id"])
    page.get_by_role("button", name="Compare", exact=True).click()
    page.locator(".sd-compare").wait_for()


def _blend(page: Any, served: Served) -> None:
    for number in (7, 8):
        page.get_by_label("Who is it for?").fill(user_id(number))
        page.keyboard.press("Enter")
        page.locator(".sd-people li", has_text=user_id(number)).wait_for()
    page.get_by_role("button", name="Make our list").click()
    page.locator(".sd-tracks:visible li").first.wait_for()


def _map(page: Any, served: Served) -> None:
    page.frame_locator("iframe.sd-map").locator("#legend li").first.wait_for()


def _search(page: Any, served: Served) -> None:
    page.get_by_label("Search tracks").fill("Frank Ocen")
    page.get_by_role("button", name="Search", exact=True).click()
    page.locator(".sd-tracks:visible li").first.wait_for()


def _continue(page: Any, served: Served) -> None:
    found = served.client.get("/api/v1/search", params={"q": "Frank Ocean", "k": 3}).json()["tracks"]
    page.get_by_placeholder("Links, URIs or ids").fill(
        "\n".join(f"spotify:track:{track['track_id']}" for track in found)
    )
    page.get_by_placeholder("calm acoustic evening").fill("calm evening")
    page.get_by_role("button", name="Continue", exact=True).click()
    page.locator(".sd-tracks:visible li").first.wait_for()


def _mine(page: Any, served: Served) -> None:
    show_what_is_stored(page, served, user_id(7))


PAGES: dict[str, tuple[str, Callable[[Any, Served], None]]] = {
    "Find my people": ("find", lambda page, served: None),
    "Compare two": ("compare", _compare),
    "Blend": ("blend", _blend),
    "Taste map": ("map", _map),
    "Search": ("search", _search),
    "Continue a playlist": ("continue", _continue),
    "My data": ("mine", _mine),
}
"""Titles of the pages, names of their pictures, and what is done on them first."""


class TestForEverybody:
    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    @pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
    def test_every_page_can_be_read_and_fits(
        self, visit: Callable[..., Any], shown: Served, size: dict[str, int], dark: bool, pytestconfig: pytest.Config
    ) -> None:
        page = visit(f"/?user={user_id(7)}", size=size, dark=dark, served=shown)
        page.locator(".sd-card").first.wait_for()
        for title, (name, use) in PAGES.items():
            if page.get_by_role("tab", name=title).is_visible():
                page.get_by_role("tab", name=title).click()
            else:  # on a phone, behind a menu
                page.locator(".overflow-menu > button").click()
                page.locator(".overflow-dropdown button", has_text=title).click()
            use(page, shown)
            page.wait_for_function(STILL)
            assert page.evaluate(CONTRAST) == []
            wide = page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
            assert wide[0] <= wide[1]
            if pytestconfig.getoption("--screenshots"):
                SHOTS.mkdir(parents=True, exist_ok=True)
                kind = f"{'phone' if size is PHONE else 'desktop'}-{'dark' if dark else 'light'}"
                page.screenshot(path=SHOTS / f"{name}-{kind}.png")

    def test_the_keyboard_is_enough(self, visit: Callable[..., Any]) -> None:
        page = visit()
        profile_box(page).focus()
        page.keyboard.type(user_id(7))
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.innerText") == "Find my people"
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        page.keyboard.press("Enter")
        page.locator(".sd-card").first.wait_for()
        page.get_by_role("tab", name="Find my people").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.locator("[role=tab][aria-selected=true]").inner_text() in ("Compare two", "Find my people")
