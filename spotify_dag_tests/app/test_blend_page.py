"""The page of blends in a real browser."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from samples.app_world import user_id
from spotify_dag_tests.app.browsing import ARTISTS, file_of
from spotify_dag_tests.app.conftest import Served, exportify

pytestmark = pytest.mark.browser


class TestBlend:
    def test_a_newcomer_has_matches_a_blend_and_a_playlist_in_three_clicks(
        self, visit: Callable[..., Any], with_tracks: Served, tmp_path: Path
    ) -> None:
        page = visit(served=with_tracks)
        with file_of("mine.csv", exportify(ARTISTS), tmp_path) as path:
            page.locator(".sd-drop input[type=file]").set_input_files(path)  # one
            match = page.locator(".sd-card").first
            match.wait_for()
            name = match.locator("h3").inner_text()
            match.get_by_role("button", name="Blend with them").click()  # two
            page.locator(".sd-tracks:visible li").first.wait_for()
        served_people = page.locator(".sd-blended tr th").all_inner_texts()
        assert sorted(served_people) == sorted(["You", name])
        with page.expect_download() as saved:
            page.locator(".sd-save:visible").get_by_role("button", name="Download").click()  # three
        assert saved.value.suggested_filename == f"Blend of {', '.join(served_people)}.csv"
        with Path(saved.value.path()).open(encoding="utf-8", newline="") as file:
            titles = [row["Track Name"] for row in csv.DictReader(file)]
        assert titles == page.locator(".sd-tracks:visible li > strong").all_inner_texts()
        assert len(titles) == 50

    def test_friends_join_by_the_link_and_leave(
        self, visit: Callable[..., Any], with_tracks: Served, tmp_path: Path
    ) -> None:
        page = visit(served=with_tracks)
        page.get_by_role("tab", name="Blend").click()
        page.get_by_label("Who is it for?").fill("nobody-here")
        page.keyboard.press("Enter")
        page.get_by_text("Nobody called 'nobody-here'").wait_for()
        page.get_by_role("button", name="Make our list").click()
        page.get_by_text("Add at least two people.").wait_for()
        page.get_by_label("Who is it for?").fill(user_id(7))
        page.keyboard.press("Enter")
        page.locator(".sd-people li", has_text=user_id(7)).wait_for()
        link = page.locator(".sd-invite a").get_attribute("href")
        friend = visit(link, served=with_tracks)
        friend.locator(".sd-people li", has_text=user_id(7)).wait_for()
        with file_of("<img src=x onerror=alert(1)>.csv", exportify(ARTISTS), tmp_path) as path:
            friend.locator(".sd-file input").set_input_files(path)
            friend.locator(".sd-people li", has_text="<img src=x").wait_for()
        page.reload()  # and the blend is found again, with the key of who was added here
        page.get_by_role("tab", name="Blend").click()
        page.locator(".sd-people li", has_text="<img src=x").wait_for()
        assert page.locator(".sd-people li", has=page.get_by_role("button")).all_inner_texts() == [
            f"{user_id(7)} Take out"
        ]
        page.get_by_label("Tracks", exact=True).first.evaluate("field => field.closest('details').open = true")
        page.locator("input[name=tracks]").fill("")
        page.get_by_role("button", name="Make our list").click()
        page.get_by_text("is not possible. See “How it shall be”.").wait_for()
        page.locator("input[name=tracks]").fill("10")
        page.locator("input[name=without]").fill("a," * 900 + "b" * 200)
        page.get_by_role("button", name="Make our list").click()
        page.locator(".sd-tracks:visible li").first.wait_for()
        assert page.locator(".sd-tracks:visible li").count() == 10
        assert page.locator(".sd-blended tr th", has_text="<img src=x").count() == 1
        friend.get_by_role("button", name="Take <img src=x").click()
        friend.locator(".sd-people li", has_text="<img src=x").wait_for(state="detached")
        page.get_by_role("button", name="Make our list").click()
        page.get_by_text("Add at least two people.").wait_for()
        assert page.locator(".sd-people li").count() == 1

    def test_a_blend_that_is_over_makes_room_for_another(self, visit: Callable[..., Any], with_tracks: Served) -> None:
        page = visit("/?blend=nobody-opened-it", served=with_tracks)
        page.get_by_text("That blend is over, or never was.").wait_for()
        assert not page.locator(".sd-invite").is_visible()
        page.get_by_label("Who is it for?").fill(user_id(8))
        page.keyboard.press("Enter")
        page.locator(".sd-people li", has_text=user_id(8)).wait_for()
        assert "nobody-opened-it" not in page.locator(".sd-invite a").get_attribute("href")
