"""The pages in a real browser, as people use them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from samples.app_world import EVIL, user_id
from spotify_dag.simulator.loopback_server import Simulator
from spotify_dag.stores.preferences import LEFT_OUT, Preference
from spotify_dag_tests.app.browsing import ARTISTS, file_of, log_in, profile_box, show_what_is_stored
from spotify_dag_tests.app.conftest import Served, exportify

pytestmark = pytest.mark.browser


class TestNewUser:
    def test_by_profile_url_through_the_login_of_spotify(self, visit: Callable[..., Any]) -> None:
        page = visit()
        log_in(page, 35)
        assert page.get_by_role("tab", name="My data").get_attribute("aria-selected") == "true"
        assert page.get_by_text(user_id(35)).first.is_visible()
        page.get_by_role("tab", name="Find my people").click()
        profile_box(page).fill(f"https://open.spotify.com/user/{user_id(35)}?si=1")
        page.keyboard.press("Enter")
        page.locator(".sd-card").first.wait_for()
        page.get_by_text("Their top tracks").first.wait_for(state="attached")  # they come after the matches
        page.get_by_text("More", exact=True).first.click()
        assert page.locator(".sd-card").count() == 9
        card = page.locator(".sd-card").first.inner_text()
        for part in (
            "% match",
            "% sure",
            "Genres you share",
            "Artists you share",
            "Eras",
            "They love, new to you",
            "Their top tracks",
        ):
            assert part in card
        page.get_by_role("tab", name="My data").click()
        page.get_by_role("button", name="Show what is stored").click()
        page.get_by_text("Nothing is stored").wait_for()

    def test_by_file_and_with_consent_the_token_opens_what_is_stored(
        self, visit: Callable[..., Any], tmp_path: Path
    ) -> None:
        page = visit()
        page.get_by_label("Keep what I hand in").check()
        with file_of("my list.csv", exportify(ARTISTS), tmp_path) as path:
            page.locator(".sd-drop input[type=file]").set_input_files(path)
            page.locator(".sd-card").first.wait_for()
        token = page.locator(".sd-token").inner_text()
        page.get_by_role("tab", name="My data").click()
        page.locator("#sd-token-box input").fill(token)
        page.get_by_role("button", name="Show what is stored").click()
        page.get_by_text("You are compared with others").wait_for()
        assert "export-" in page.locator(".sd-facts").inner_text()
        with page.expect_download() as saved:
            page.get_by_role("link", name="CSV").click()
        assert Path(saved.value.path()).read_text().startswith("user_bucket")

    def test_few_data_are_said_to_be_few(self, visit: Callable[..., Any], tmp_path: Path) -> None:
        page = visit()
        with file_of("one.csv", exportify(["Prince"]), tmp_path) as path:
            page.locator(".sd-drop input[type=file]").set_input_files(path)
            page.get_by_text("Only 1 item to go by").wait_for()

    def test_several_files_are_one_person_and_the_report_is_shown(
        self, visit: Callable[..., Any], tmp_path: Path
    ) -> None:
        page = visit()
        files = [tmp_path / name for name in ("one.csv", "two.csv", "notes.txt")]
        for file, content in zip(files, (exportify(["Prince"]), exportify(["Usher", "Air"]), b"milk"), strict=True):
            file.write_bytes(content)
        page.locator(".sd-drop input[type=file]").set_input_files(files)
        page.get_by_text("3 items in 2 lists were read").click()
        page.get_by_text("read two.csv: exportify.net").wait_for()
        page.get_by_text("not read notes.txt: no listening in it").wait_for()

    def test_what_goes_wrong_is_said_on_the_page(self, visit: Callable[..., Any], tmp_path: Path) -> None:
        page = visit()
        page.get_by_role("button", name="Find my people").click()
        page.get_by_text("Whose profile?").wait_for()
        profile_box(page).fill("https://evil.example/<img src=x onerror=alert(1)>")
        page.get_by_role("button", name="Find my people").click()
        page.get_by_text("names no Spotify user").wait_for()
        with file_of("notes.csv", b"a,b\n1,2\n", tmp_path) as path:
            page.locator(".sd-drop input[type=file]").set_input_files(path)
            page.get_by_text("'notes.csv'").wait_for()
        with file_of("large.csv", b"x" * 4_000_000, tmp_path) as path:
            page.locator(".sd-drop input[type=file]").set_input_files(path)
            page.locator(".sd-note", has_text="too large").wait_for()

    def test_an_example_is_a_click_away(self, visit: Callable[..., Any], served: Served) -> None:
        page = visit()
        examples = page.get_by_role("navigation", name="Examples").get_by_role("link")
        examples.first.wait_for()
        assert examples.count() == 3
        user = examples.first.inner_text()
        examples.first.click()
        page.locator(".sd-card").first.wait_for()
        assert profile_box(page).input_value() == user

    def test_names_are_offered_to_be_picked(self, visit: Callable[..., Any], served: Served) -> None:
        page, asked = visit(), []
        page.on("request", lambda request: asked.append(request.url) if "/listeners?" in request.url else None)
        profile_box(page).press_sequentially("https://open.spotify.com/user/me", delay=20)
        page.get_by_role("tab", name="Compare two").click()
        page.get_by_label("One listener").press_sequentially(user_id(10)[:-1], delay=20)
        offered = page.locator(f"#sd-listeners option[value='{user_id(10)}']")
        offered.wait_for(state="attached")
        assert offered.inner_text().count(",") == 2  # what they listen to
        values = page.locator("#sd-listeners option").evaluate_all("all => all.map((one) => one.value)")
        assert all(value.startswith(user_id(10)[:-1]) for value in values)
        # A link is nobody's business but that of the answer, and what is typed at a stretch is asked for once.
        assert not [url for url in asked if "spotify.com" in url]
        assert len(asked) < len(user_id(10))


class TestOwnTaste:
    def test_what_does_not_count_is_left_out_and_counts_again(self, visit: Callable[..., Any], served: Served) -> None:
        user, page = user_id(9), visit()
        page.get_by_role("tab", name="My data").click()
        show_what_is_stored(page, served, user)
        preferences, before = served.project.preferences, served.service.serving.snapshot().person(user)
        artist = page.locator(".sd-toggle[data-kind=artist]").first
        name = artist.inner_text()
        artist.focus()
        page.keyboard.press("Enter")
        page.get_by_text("items do not count").wait_for()
        assert artist.get_attribute("aria-pressed") == "true"
        assert preferences.of(user) == [Preference("artist", name)]
        assert served.service.serving.snapshot().person(user).tracks < before.tracks
        # Shown as left out from now on, first of its kind, until it is undone.
        show_what_is_stored(page, served, user)
        page.locator(".sd-toggle[data-kind=artist][aria-pressed=true]").wait_for()
        assert page.locator(".sd-toggle[data-kind=artist]").first.inner_text() == name
        page.locator(".sd-toggle[data-kind=artist]").first.click()
        page.locator(".sd-toggle[data-kind=artist][aria-pressed=false]").first.wait_for()
        page.get_by_text("0 of your").wait_for()
        assert preferences.of(user) == []
        assert served.service.serving.snapshot().person(user).tracks == before.tracks

    def test_what_is_thought_of_a_track_is_said_beside_it(self, visit: Callable[..., Any], with_tracks: Served) -> None:
        user, page = user_id(10), visit(served=with_tracks)
        page.get_by_role("tab", name="My data").click()
        page.locator("#sd-token-box input").fill(with_tracks.service.identity.file_token(user))
        page.get_by_role("button", name="Tracks for me").click()
        first = page.locator(".sd-tracks:visible li").first
        title = first.locator("strong").inner_text()
        first.get_by_role("button", name="Not for me").click()
        page.get_by_text("Said.").wait_for()
        page.get_by_role("button", name="Tracks for me").click()
        page.locator(".sd-tracks:visible li", has_text=title).wait_for(state="detached")
        (said,) = with_tracks.project.preferences.of(user)
        assert said.kind == "not-for-me"
        with_tracks.project.preferences.change(user, remove=[said])

    def test_a_list_every_monday_is_asked_for_and_ended(self, visit: Callable[..., Any], with_tracks: Served) -> None:
        user, page = user_id(12), visit(served=with_tracks)
        page.get_by_role("tab", name="My data").click()
        page.locator("#sd-token-box input").fill(with_tracks.service.identity.file_token(user))
        page.get_by_role("button", name="New tracks every Monday").click()
        page.get_by_role("button", name="Make me a list every Monday").click()
        page.get_by_text("The first list comes with the next run.").wait_for()
        assert user in with_tracks.project.inbox.weekly.users()
        page.get_by_role("button", name="Show my list").click()
        page.get_by_text("No list yet").wait_for()
        page.get_by_role("button", name="No more lists").click()
        page.get_by_text("Those that were made go with the next run.").wait_for()
        assert user not in with_tracks.project.inbox.weekly.users()

    def test_a_card_is_shown_with_what_shows_it_elsewhere_and_taken_back(
        self, visit: Callable[..., Any], served: Served
    ) -> None:
        user, page = user_id(12), visit()
        page.get_by_role("tab", name="My data").click()
        page.locator("#sd-token-box input").fill(served.service.identity.file_token(user))
        page.get_by_role("button", name="A card to show elsewhere").click()
        page.get_by_role("button", name="Anybody may see my card").click()
        picture = page.get_by_role("img", name=user)
        picture.wait_for()
        page.wait_for_function("image => image.complete && image.naturalWidth === 420", arg=picture.element_handle())
        # What is written on another site shows the same picture there.
        shown = page.context.new_page()
        shown.set_content(page.locator(".sd-snippet").inner_text())
        shown.wait_for_function("document.images[0].complete && document.images[0].naturalWidth === 420")
        page.get_by_role("button", name="Nobody any more").click()
        page.get_by_text("Nobody sees it any more").wait_for()
        assert user not in served.project.inbox.cards.users()

    def test_names_that_others_chose_are_shown_and_never_run(self, visit: Callable[..., Any], served: Served) -> None:
        user, page = user_id(11), visit()
        said = [Preference(kind, name) for kind in LEFT_OUT for name in EVIL]
        served.project.preferences.change(user, said)
        page.get_by_role("tab", name="My data").click()
        show_what_is_stored(page, served, user)
        shown = page.locator(".sd-toggle[aria-pressed=true]")
        assert shown.count() == len(said)
        shown.first.click()
        page.get_by_text("items do not count").wait_for()
        assert len(served.project.preferences.of(user)) == len(said) - 1
        served.project.preferences.change(user, remove=served.project.preferences.of(user))


class TestPages:
    def test_compare_from_an_address(self, visit: Callable[..., Any]) -> None:
        page = visit(f"/?a={user_id(7)}&b={user_id(8)}")
        page.locator(".sd-compare").wait_for()
        assert page.get_by_role("tab", name="Compare two").get_attribute("aria-selected") == "true"
        for heading in ("Genres", "Eras", "Artists"):
            assert page.locator(".sd-charts h3", has_text=heading).is_visible()
        with page.expect_download() as picture:
            page.get_by_role("link", name="Picture to share").click()
        assert Path(picture.value.path()).read_bytes().startswith(b"\x89PNG")
        page.get_by_label("Another").fill("nobody")
        page.get_by_role("button", name="Compare", exact=True).click()
        page.get_by_text("Nobody called").wait_for()

    def test_a_click_on_the_map_leads_to_a_user(self, visit: Callable[..., Any], served: Served) -> None:
        page = visit()
        page.get_by_role("tab", name="Taste map").click()
        frame = page.frame_locator("iframe.sd-map")
        frame.get_by_text("Hover over a dot").wait_for()
        found = served.client.get("/api/v1/map").json()
        place = found["user_ids"].index(user_id(7))
        box = frame.locator("#plane").bounding_box()
        x = 12 + found["x"][place] * (box["width"] - 24)
        y = 12 + (1 - found["y"][place]) * (box["height"] - 24)
        frame.locator("#plane").click(position={"x": x, "y": y})
        assert user_id(7) in frame.locator("#tip").inner_text()
        frame.get_by_role("link", name="find their people").click()
        page.locator(".sd-card").first.wait_for()
        assert profile_box(page).input_value() == user_id(7)
        places = zip(found["user_ids"], found["x"], found["y"], strict=True)
        user = next(user for user, x, y in places if user != user_id(7) and max(abs(x - 0.5), abs(y - 0.5)) < 0.25)
        profile_box(page).fill(user)
        page.keyboard.press("Enter")
        page.get_by_role("tab", name="Taste map").click()
        # First whether the page asked for it, then whether the map shows it.
        page.locator(f"iframe.sd-map[src*='{user}']").wait_for()
        frame.locator("#tip", has_text=user).wait_for()
        # Enlarged about the user with the ring, who is then in the middle.
        frame.get_by_role("button", name="Nearer").click()
        frame.locator("#plane").click()
        assert user in frame.locator("#tip").inner_text()

    def test_tabs_of_tracks_are_hidden_where_there_are_none(self, visit: Callable[..., Any], served: Served) -> None:
        page = visit()
        assert not served.service.tracks.available()
        for title in ("Blend", "Search", "Continue a playlist"):
            assert not page.get_by_role("tab", name=title).is_visible()

    def test_tracks_are_found_and_continue_a_playlist(self, visit: Callable[..., Any], with_tracks: Served) -> None:
        page = visit(served=with_tracks)
        page.get_by_role("tab", name="Search").click()
        page.get_by_label("Search tracks").fill("Usher")
        page.keyboard.press("Enter")
        page.locator(".sd-tracks li", has_text="Usher").first.wait_for()
        (song, *_) = with_tracks.client.get("/api/v1/search", params={"q": "Usher", "k": 1}).json()["tracks"]
        page.get_by_role("tab", name="Continue a playlist").click()
        page.get_by_placeholder("Links, URIs or ids").fill(f"spotify:track:{song['track_id']}\nnobody-knows-it")
        page.get_by_role("button", name="Continue", exact=True).click()
        page.locator(".sd-tracks:visible li").first.wait_for()
        assert page.locator(".sd-tracks:visible li").count() == 20
        assert page.locator(".sd-tracks:visible small").first.is_visible()  # why
        assert page.get_by_text("nobody-knows-it").last.is_visible()

    def test_a_found_track_is_a_click_from_the_playlist(self, visit: Callable[..., Any], with_tracks: Served) -> None:
        page = visit(served=with_tracks)
        page.get_by_role("tab", name="Search").click()
        page.get_by_label("Search tracks").fill("Usher")
        page.keyboard.press("Enter")
        add = page.locator("button[data-pick]")
        add.first.wait_for()
        track = add.first.get_attribute("data-pick")
        add.first.click()
        add.nth(1).click()
        add.nth(1).click()  # taken back
        page.get_by_role("tab", name="Continue a playlist").click()
        assert page.get_by_placeholder("Links, URIs or ids").input_value() == track
        page.get_by_role("button", name="Continue", exact=True).click()
        page.locator(".sd-tracks:visible li").first.wait_for()

    @pytest.mark.parametrize("tab", ["Search", "Continue a playlist"])
    def test_a_list_is_in_the_account_after_one_more_consent(
        self, visit: Callable[..., Any], with_tracks: Served, simulator: Simulator, tab: str
    ) -> None:
        page = visit(served=with_tracks)
        page.get_by_role("tab", name=tab).click()
        if tab == "Search":
            page.get_by_label("Search tracks").fill("Usher")
            page.keyboard.press("Enter")
        else:
            page.get_by_placeholder("calm acoustic evening").fill("calm")
            page.get_by_role("button", name="Continue", exact=True).click()
        page.get_by_role("button", name="Add to my Spotify").click()
        assert "playlist-modify-private" in page.get_by_text("The app asks for").inner_text()
        page.get_by_label("Log in as").fill(user_id(38))
        page.get_by_role("button", name="Agree").click()
        title = "Usher" if tab == "Search" else "calm"
        page.get_by_text(f"“{title}” is in your account: 20 tracks.").wait_for(timeout=60_000)
        world = simulator.api.world
        (newest, *_) = (world.playlist(number) for number in world.listed(38))
        assert (newest.name, len(newest.tracks), newest.public) == (title, 20, False)

    def test_whoever_asks_for_new_users_too_often_is_told_so(
        self, visit: Callable[..., Any], fresh: Callable[..., Any]
    ) -> None:
        with fresh(pages=True, app_newcomers_per_minute=1) as served:
            # The page counts with the API.
            assert served.client.post("/api/v1/users", data={"profile": user_id(7)}).status_code == 202
            assert served.client.post("/api/v1/users", data={"profile": user_id(7)}).status_code == 429
            page = visit(served=served)
            profile_box(page).fill(user_id(7))
            page.keyboard.press("Enter")
            page.get_by_text("Too many requests").wait_for()

    def test_forget_me(self, visit: Callable[..., Any], fresh: Callable[..., Any]) -> None:
        with fresh(pages=True) as served:
            page = visit(served=served)
            log_in(page, 5)
            page.get_by_role("button", name="Show what is stored").click()
            page.locator(".sd-facts").wait_for()
            page.get_by_role("button", name="Forget me").first.click()
            page.get_by_label("Delete everything").check()
            page.get_by_role("button", name="Forget me").last.click()
            page.get_by_text("Everything that was stored of you has been deleted").wait_for()
            assert served.client.get(f"/api/v1/users/{user_id(5)}/matches").status_code == 404

    def test_names_that_mean_harm_are_text(self, visit: Callable[..., Any], served: Served, tmp_path: Path) -> None:
        near = served.client.get(f"/api/v1/users/{user_id(0)}/matches").json()["matches"]
        for match in near:
            answered = served.client.get(f"/api/v1/users/{match['user_id']}/matches", params={"k": 9}).json()["matches"]
            if user_id(0) in [one["user_id"] for one in answered]:
                break
        page = visit(f"/?user={match['user_id']}")
        card = page.locator(".sd-card", has=page.get_by_text(user_id(0), exact=True)).first
        # Tracks come after the matches.
        card.get_by_text("<img src=x onerror=alert(1)>").first.wait_for(state="attached")
        names = [*EVIL, "شام " + "x" * 10_000]
        with file_of("<img src=x onerror=alert(1)>.csv", exportify(names * 2, names * 2), tmp_path) as path:
            page.locator(".sd-drop input[type=file]").set_input_files(path)
            page.locator(".sd-message, .sd-card").first.wait_for()
        page.goto(f"{served.url}/?a=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&b=%24%7Balert(1)%7D")
        page.get_by_text("Nobody called").wait_for()
