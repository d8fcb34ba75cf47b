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
from spotify_dag_tests.app.browsing import ENGLISH, PAGES, open_tab, profile_box
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
  const bad = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), texts = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) texts.push([node.parentElement, node.data]);
  // What stands in a field is no text of the page.
  for (const field of document.querySelectorAll('input:not([type=checkbox], [type=range]), textarea, select'))
    texts.push([field, field.type === 'file' ? 'a field for files' : field.value]);
  for (const [element, words] of texts) {
    const style = getComputedStyle(element), box = element.getBoundingClientRect();
    if (!words.trim() || !box.width || style.visibility === 'hidden') continue;
    if (element.closest('script,style,noscript')) continue;
    if (!element.checkVisibility({ opacityProperty: true })) continue;
    const [a, b] = [light(colour(style.color)), light(behind(element))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && +style.fontWeight >= 700);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (large ? 3 : 4.5))
      bad.push(`${ratio.toFixed(2)}: ${words.trim().slice(0, 40)} ${style.color} on ${behind(element)}`);
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


class TestForEverybody:
    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    @pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
    def test_every_page_can_be_read_and_fits(
        self, visit: Callable[..., Any], shown: Served, size: dict[str, int], dark: bool, pytestconfig: pytest.Config
    ) -> None:
        page = visit(f"/?user={user_id(7)}", size=size, dark=dark, served=shown)
        page.locator(".sd-card").first.wait_for()
        for title, (name, use) in PAGES.items():
            open_tab(page, ENGLISH(title))
            use(page, shown, ENGLISH)
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
