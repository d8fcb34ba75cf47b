"""The pages in a real browser of somebody who speaks another language."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from samples.app_world import user_id
from spotify_dag.app.texts import Texts, language_of, texts_in
from spotify_dag_tests.app.browsing import ENGLISH, PAGES, open_tab
from spotify_dag_tests.app.conftest import DESKTOP, PHONE, Served
from spotify_dag_tests.app.test_texts import literals_of, messages_in

pytestmark = pytest.mark.browser

SEEN = """
() => {
  const seen = [document.title], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode())
    if (!node.parentElement.closest('script,style')) seen.push(node.data);
  for (const element of document.querySelectorAll('*'))
    for (const name of ['placeholder', 'aria-label', 'title', 'alt'])
      if (element.hasAttribute(name)) seen.push(element.getAttribute(name));
  return seen.map((text) => text.trim()).filter(Boolean);
}
"""
"""All texts of a page, shown or not, and what screen readers say."""


def english_in(seen: set[str], language: str) -> set[str]:
    """Return what is said in English, of what another language says in other words."""
    translated = messages_in(language)
    left = set()
    for name, message in messages_in("en").items():
        own = {text.strip() for text in literals_of(translated[name])}
        for words in {text.strip() for text in literals_of(message)} - own:
            if not re.search(r"[^\W\d]{2}", words):
                continue
            # A long piece may stand within a text; a word alone may be a word of a name.
            long = " " in words and len(words) > 10
            left |= {text for text in seen if (words in text if long else words == text)}
    return left


def use_all(page: Any, served: Served, say: Texts) -> set[str]:
    """Do on every page what can be done, and return all that was to be read."""
    seen: set[str] = set()

    def look() -> None:
        for frame in page.frames:
            seen.update(frame.evaluate(SEEN))

    def press(name: str, answer: str, *, opens: bool = False) -> None:
        buttons = page.get_by_role("button", name=say(name), exact=not opens)
        (buttons.first if opens else buttons.last).click()
        page.get_by_text(answer).first.wait_for()
        look()

    page.locator(".sd-card").first.wait_for()
    look()
    page.locator(".sd-who textarea, .sd-who input").first.fill("")
    press("find", say("find-nobody-detail"))
    for title, (_, use) in PAGES.items():
        open_tab(page, say(title))
        look()
        if title == "tab-compare":
            press("compare", say("compare-two-needed"))
        if title == "tab-blend":
            press("blend-make", say("blend-two-needed"))
        if title == "tab-mine":
            press("mine-show", say("mine-who-detail"))
        use(page, served, say)
        look()
    press("mine-tracks", say("feedback-not-for-me"))
    press("weekly", say("weekly-begin"), opens=True)
    press("weekly-show", say("weekly-none"))
    press("card", say("card-begin"), opens=True)
    press("card-begin", say("card-begun"))
    press("card-end", say("card-ended"))
    press("forget", say("forget-sure"), opens=True)
    press("forget", say("forget-unsure"))
    return seen


class TestOtherLanguages:
    @pytest.mark.parametrize(("locale", "size"), [("de-DE", PHONE), ("es-ES", DESKTOP)], ids=["German", "Spanish"])
    def test_no_page_says_anything_in_english(
        self, visit: Callable[..., Any], with_tracks: Served, locale: str, size: dict[str, int]
    ) -> None:
        language = language_of(locale)
        page = visit(f"/?user={user_id(7)}", served=with_tracks, locale=locale, size=size)
        seen = use_all(page, with_tracks, texts_in(language))
        assert english_in(seen, language) == set()
        assert not {text for text in seen if re.search("[⟦⟧]", text)}
        assert page.evaluate("document.documentElement.lang") == language
        assert page.frame_locator("iframe.sd-map").locator("html").get_attribute("lang") == language
        wide = page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1]
        page.goto(f"{with_tracks.url}/?denied=1")
        page.get_by_text(texts_in(language)("denied-detail")).wait_for()

    def test_who_speaks_none_of_them_reads_english(self, visit: Callable[..., Any], with_tracks: Served) -> None:
        page = visit(f"/?user={user_id(7)}", served=with_tracks, locale="fr-FR")
        page.locator(".sd-card").first.wait_for()
        assert page.evaluate("[document.documentElement.lang, document.title]") == [
            "en", ENGLISH("page-title", name="Soundkin"),
        ]  # fmt: skip
        assert page.locator(".sd-card h4").first.inner_text() == ENGLISH("match-genres")
        for title in PAGES:
            assert page.locator("button", has_text=ENGLISH(title)).count()

    def test_the_page_and_its_frame_say_their_language(self, with_tracks: Served) -> None:
        for path in ("/", "/map"):
            for wishes, language in (("de-AT,fr;q=0.5", "de"), ("fr", "en"), ("x" * 20_000, "en")):
                answer = with_tracks.client.get(path, headers={"Accept-Language": wishes})
                assert answer.status_code == 200
                assert answer.headers["content-language"] == language
                assert "accept-language" in answer.headers["vary"]
                assert re.search(r'<html\s+lang="(\w+)"', answer.text)[1] == language
                assert texts_in(language)("tab-map") in answer.text
                assert "⟦" not in answer.text
        head = with_tracks.client.head("/", headers={"Accept-Language": "es"})
        whole = with_tracks.client.get("/", headers={"Accept-Language": "es"})
        assert head.headers["content-length"] == whole.headers["content-length"]
        failed = with_tracks.client.get(
            "/callback?state=x&code=y", headers={"Accept": "text/html", "Accept-Language": "de"}
        )
        assert "Du bist nicht angemeldet" in failed.text
