"""The source against a simulated Spotify: everything that is there, once, and no request more than it takes."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spotify_dag.layout import Layout
from spotify_dag.lifecycle.forget import forget
from spotify_dag.locks import locked
from spotify_dag.orchestration.schedules import buckets_of_the_day
from spotify_dag.project import Project
from spotify_dag.schemas import user_buckets
from spotify_dag.simulator.faults_and_limits import RATE_KINDS
from spotify_dag.sources.base import ResumeLaterError, SourceError
from spotify_dag.sources.ingestion import source_versions
from spotify_dag.sources.spotify import SpotifySource
from spotify_dag.sources.spotify.spotify_errors import NotPermittedError, QuotaExhaustedError, RateLimitedError
from spotify_dag.sources.spotify.store import Content, Database, ListedPlaylist, Mirror, MirroredUser, database_path
from spotify_dag_tests.sources.spotify.conftest import (
    Installation,
    found_items,
    ingest,
    raw_server,
    response,
    settings_for,
    user_id,
)
from spotify_dag_tests.waiting import until

Install = Callable[..., Installation]
WORKER = Path(__file__).with_name("worker.py")
ITEMS, LISTS = "/v1/playlists/{id}/items", "/v1/users/{id}/playlists"


def users(count: int) -> list[str]:
    return [user_id(number) for number in range(count)]


class TestWhatIsRead:
    @pytest.mark.medium
    def test_it_is_what_the_world_holds(self, install: Install) -> None:
        here = install()
        found = ingest(here.source(*users(12)))
        assert found.interrupted is None
        assert found_items(found) == here.expected(range(12))
        assert found.users["user_id"].sort().to_list() == users(12)
        assert set(found.raw["source"]) == set(found.users["source"]) == {"synthetic"}
        assert set(found.ingests["source"]) == {"spotify"}
        assert found.ingests["rows_read"].sum() == found.ingests["rows_kept"].sum() == found.raw.height
        assert here.simulator.api.wire.traffic.peak_in_flight <= 4
        # What the rows say besides ids is what the world says of these tracks.
        world = here.simulator.api.world
        row = found.raw.row(7, named=True)
        number = world.tracks.ids.number_of(row["track_id"])
        assert number is not None
        artist = int(world.tracks.artist[number])
        assert row["track_name"] == world.tracks.names[number]
        assert (row["artist_name"], row["artist_id"]) == (world.artists.names[artist], world.artists.ids.id_of(artist))
        assert row["popularity"] == world.tracks.popularity[number]
        assert row["explicit"] == world.tracks.explicit[number]

    def test_all_artists_of_an_item_are_kept_and_older_rows_have_one(self, install: Install) -> None:
        here = install()
        text = ["t" * 22, "Song", "Album", "a" * 22, "Air", "1998", "61", "False"]
        content = Content([[0, *text, ["Air", "Beth Hirsch", "Various Artists"]], [1, *text]], [])
        with closing(Database(database_path(here.settings))) as database:
            mirror = Mirror(database)
            mirror.put_playlist("p", "s", content, [])
            mirror.put_user(MirroredUser("anna", [ListedPlaylist("p", "Mine", None)], None), time.time())
            (user,) = mirror.users(["anna"])
            batch = here.source("anna")._batch([user], mirror.contents(["p"]))
        assert batch.records.select("artist_name", "artist_id", "artists").rows() == [
            ("Air", "a" * 22, ["Air", "Beth Hirsch"]), ("Air", "a" * 22, ["Air"])
        ]  # fmt: skip

    def test_artists_come_with_their_genres(self, install: Install) -> None:
        here = install()
        source = here.source(*users(3))
        assert source.artist_genres() is None
        found = ingest(source)
        genres = source.artist_genres()
        assert genres is not None
        world = here.simulator.api.world
        expected = {
            world.artists.names[number]: genres
            for number, genres in enumerate(world.artists.genres)
            if genres and world.artists.ids.id_of(number) in set(found.raw["artist_id"])
        }
        assert dict(genres.select("artist_name", "genres").iter_rows()) == expected
        assert len(expected) > 50

    @pytest.mark.medium
    def test_followed_playlists_count_only_where_that_is_asked_for(self, install: Install) -> None:
        here = install({"spotify_followed": True})
        everything = here.expected(range(12), followed=True)
        assert len(everything) > len(here.expected(range(12)))
        assert found_items(ingest(here.source(*users(12)))) == everything

    def test_so_many_users_and_playlists_are_enough(self, install: Install) -> None:
        here = install({"profiles_count": 4, "playlists_count": 2})
        found = ingest(here.source("not a user", *users(12)), profiles_count=4)
        assert found.raw.group_by("user_id").agg(pl.col("playlist_id").n_unique()).sort("user_id").rows() == [
            (user, 2) for user in users(4)
        ]
        assert here.traffic().endpoints[LISTS] == 4
        assert found.interrupted is None

    @pytest.mark.medium
    def test_oddities_are_normal(self, install: Install) -> None:
        here = install()
        here.faults(null_item=0.2, local_item=0.2, episode=0.2, null_playlist=0.5, null_date=0.5, null_genres=0.5)
        found = ingest(here.source(*users(6)))
        tracks = found.raw.filter(pl.col("track_id").is_not_null())
        expected = here.expected(range(6))
        # Oddities stand between the tracks, so positions differ; order and content do not.
        ordered = tracks.sort("user_id", "playlist_id", "position").select("user_id", "playlist_id", "track_id").rows()
        assert ordered == [(user, playlist, track) for user, playlist, _, track in expected]
        local = found.raw.filter(pl.col("track_id").is_null())
        assert set(local["artist_name"]) == {"Somebody With a Folder"}
        reasons = dict(found.rejects.group_by("reason").len().iter_rows())
        assert reasons.keys() == {"null: no longer on Spotify", "not a track"}
        assert found.ingests["rows_read"].sum() == found.raw.height + sum(reasons.values())

    def test_who_is_no_user_and_who_is_unknown(self, install: Install) -> None:
        here = install()
        found = ingest(here.source("https://open.spotify.com/playlist/x", user_id(1), "nobody", user_id(1)))
        assert found_items(found) == here.expected(range(1, 2))
        assert found.users.sort("user_id").select("user_id", "rows_kept").rows()[0] == ("nobody", 0)
        assert found.rejects.sort("reason").select("file", "row", "user_id", "value", "reason", "dropped").rows() == [
            ("users.txt", None, "nobody", "nobody", "Spotify does not know this user, or no more.", True),
            ("users.txt", 1, None, "https://open.spotify.com/playlist/x", "names no Spotify user", True),
        ]

    @pytest.mark.medium
    @pytest.mark.slow
    def test_playlists_of_more_than_a_page(self, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
        here = install(users=2, tracks=60, playlists=55)
        here.faults(null_playlist=0.3)
        expected = here.expected(range(2))
        monkeypatch.setattr("spotify_dag.sources.spotify.BATCH_ROWS", 50)  # a batch for each user
        assert found_items(ingest(here.source(*users(2)))) == expected
        traffic = here.traffic()
        assert traffic.endpoints[LISTS] > 2
        assert max(traffic.urls.values()) == 1


class TestSteadyState:
    @pytest.mark.medium
    def test_nothing_is_asked_within_the_same_period(self, install: Install) -> None:
        here = install()
        first = ingest(here.source(*users(12)))
        here.traffic()
        again = ingest(here.source(*users(12)))
        assert again.items() == first.items()
        assert here.traffic().urls.total() == 0

    @pytest.mark.medium
    def test_in_a_week_everybody_is_looked_at_again_once_a_seventh_of_the_buckets_a_day(
        self, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = install({"n_buckets": 8})
        ingest(here.source(*users(12)))
        today, clock = [0], time.time
        monkeypatch.setattr(time, "time", lambda: clock() + today[0] * 86_400)
        looked_at: list[str] = []
        for day in range(1, 8):
            before = source_versions(here.source(*users(12)), n_buckets=8, profiles_count=None)
            today[0] = day
            source = here.source(*users(12))
            versions = source_versions(source, n_buckets=8, profiles_count=None)
            turn = [bucket for bucket in range(8) if versions[bucket] != before[bucket]]
            here.traffic()
            ingest(source)
            asked = {url.split("/")[3] for url in here.traffic().urls if url.startswith("/v1/users/")}
            assert asked == {user for user in users(12) if user_buckets([user], 8)[0] in turn}
            layout = Layout(8, 8)
            assert turn == buckets_of_the_day(clock() // 86_400 * 86_400 + today[0] * 86_400, layout, 7 * 86_400)
            looked_at += asked
            ingest(source)
            assert here.traffic().urls.total() == 0
        assert sorted(looked_at) == users(12)

    @pytest.mark.medium
    def test_looking_again_lists_and_fetches_no_more(self, install: Install) -> None:
        here = install()
        first = ingest(here.source(*users(12)))
        here.traffic()
        again = ingest(here.source(*users(12), asked=time.time()))
        assert again.items() == first.items()
        assert again.users.sort("user_id")["content_hash"].equals(first.users.sort("user_id")["content_hash"])
        assert dict(here.traffic().endpoints) == {LISTS: 12}

    @pytest.mark.medium
    def test_only_what_changed_is_fetched(self, install: Install) -> None:
        here = install(seed=1)
        first = ingest(here.source(*users(12)))
        here.traffic()
        here.simulator.api.world.change(here.simulator.api.world.own(3)[1], remove=2, add=1)
        again = ingest(here.source(*users(12), asked=time.time()))
        assert found_items(again) == here.expected(range(12)) != found_items(first)
        hashes = [dict(found.users.select("user_id", "content_hash").iter_rows()) for found in (first, again)]
        assert {user for user in users(12) if hashes[0][user] != hashes[1][user]} == {user_id(3)}
        endpoints = here.traffic().endpoints
        assert (endpoints[LISTS], endpoints[ITEMS]) == (12, 1)

    @pytest.mark.medium
    def test_whoever_is_taken_off_the_list_is_forgotten(self, install: Install) -> None:
        here = install()
        ingest(here.source(*users(5)))
        (stored,) = (here.data / "spotify").glob("*.sqlite*")
        assert user_id(4).encode() in stored.read_bytes()
        found = ingest(here.source(*users(2)))
        assert found_items(found) == here.expected(range(2))
        assert user_id(1).encode() in stored.read_bytes()
        assert user_id(4).encode() not in stored.read_bytes()
        here.traffic()
        assert found_items(ingest(here.source(*users(5)))) == here.expected(range(5))
        assert here.traffic().endpoints[LISTS] == 3

    def test_the_version_tells_what_would_be_read(self, install: Install, tmp_path: Path) -> None:
        here = install()
        source = here.source(*users(2))
        version = source.version()
        assert source.version() == version
        assert here.source(*users(2), asked=time.time()).version() != version
        here.options["playlists_count"] = 1
        assert here.source(*users(2)).version() != version
        here.options.clear()
        assert here.source(*users(2)).version() == version
        assert here.source(*users(3)).version() != version


class TestOddPages:
    @pytest.mark.medium
    def test_entries_that_are_left_out_of_a_page_double_nothing(self, install: Install) -> None:
        here = install(tracks=60)
        here.faults(left_out=0.2)
        found = ingest(here.source(*users(12)))
        assert without_positions(found_items(found)) == without_positions(here.expected(range(12)))

    @pytest.mark.parametrize("fault", ["no_owner", "empty_list"])
    @pytest.mark.medium
    def test_a_page_without_what_it_promises_takes_nothing_away(self, install: Install, fault: str) -> None:
        here = install({"spotify_deadline": 0.5})
        first = ingest(here.source(*users(6)))
        here.faults(**{fault: 1})
        found = ingest(here.source(*users(6), asked=time.time()))
        assert found.items() == first.items()
        said = {"no_owner": "has no owner", "empty_list": "is none of "}[fault]
        assert found.rejects["user_id"].sort().to_list() == users(6)
        assert all(said in reason for reason in found.rejects["reason"])
        here.faults()
        assert ingest(here.source(*users(6), asked=time.time())).rejects.is_empty()

    def test_where_none_of_the_playlists_is_a_user_s_own_that_is_said(self, tmp_path: Path) -> None:
        page = {
            "items": [{"id": f"p{number}", "owner": {"id": "somebody"}, "collaborative": False} for number in range(3)],
            "total": 3, "limit": 50, "next": None,
        }  # fmt: skip
        with raw_server(answering(page)) as url:
            (tmp_path / "users.txt").write_text("anna")
            found = ingest(SpotifySource(settings_for(url, tmp_path / "data"), str(tmp_path / "users.txt")))
        assert found.rejects.select("user_id", "reason").rows() == [("anna", "3 playlists, none of their own")]


class TestSpelling:
    def test_one_user_is_one_however_the_list_spells_the_id(self, install: Install) -> None:
        here = install()
        found = ingest(here.source("SYNTHETIC-000001", user_id(1), "Synthetic-000002"))
        assert found.users["user_id"].sort().to_list() == [user_id(1), user_id(2)]
        assert found_items(found) == here.expected(range(1, 3))
        here.traffic()
        again = ingest(here.source("SYNTHETIC-000001", user_id(1), "Synthetic-000002"))
        assert again.items() == found.items()
        assert here.traffic().urls.total() == 0

    def test_a_forgotten_user_stays_so_under_any_spelling(self, install: Install) -> None:
        here = install()
        ingest(here.source("Synthetic-000001", user_id(2)))
        project = Project.open(here.settings)
        project.inbox.register_source("spotify", {"path": here.source("Synthetic-000001", user_id(2)).users})
        assert forget(project, "Synthetic-000001").user_id == user_id(1)
        here.traffic()
        for spelled in ("Synthetic-000001", "SYNTHETIC-000001", user_id(1)):
            found = ingest(here.source(spelled, user_id(2)))
            assert found.users["user_id"].to_list() == [user_id(2)]
        assert not [url for url in here.traffic().urls if "000001" in url]


def without_positions(items: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return items in order, without their numbers: what is left out in between counts as nothing."""
    return [(user, playlist, track) for user, playlist, _, track in items]


def answering(page: dict[str, Any]) -> Callable[[socket.socket, bytes], None]:
    """Return a server's side that gives a token, and else one page to every question."""

    def answer(connection: socket.socket, request: bytes) -> None:
        asked = b"/api/token" in request.split(b"\r\n")[0]
        token = {"access_token": "t", "token_type": "Bearer", "expires_in": 3600}
        connection.sendall(response(json.dumps(token if asked else page).encode()))

    return answer


class TestLimits:
    @pytest.mark.medium
    def test_a_day_long_limit_ends_the_run_at_once_and_binds_everybody(self, install: Install) -> None:
        here = install()
        ingest(here.source(*users(6)))
        here.faults(rate_limited_long=0.5)
        found = ingest(here.source(*users(12)))
        assert isinstance(found.interrupted, RateLimitedError)
        assert 80_000 < found.interrupted.at - time.time() <= 86_400
        # What was fetched is kept; the source does not count as read.
        assert set(users(6)) <= set(found.users["user_id"]) < set(users(12))
        assert set(here.expected(range(6))) <= set(found_items(found)) <= set(here.expected(range(12)))
        assert found.ingests.height == 0
        here.traffic()
        again = ingest(here.source(*users(12), asked=time.time()))
        assert here.traffic().urls.total() == 0
        assert isinstance(again.interrupted, RateLimitedError)
        assert again.items() == found.items()

    @pytest.mark.medium
    @pytest.mark.slow
    def test_it_goes_on_where_it_was(self, install: Install) -> None:
        here = install(seed=5)
        here.faults(quota_exceeded=0.1, long_retry_after=1)
        runs = 0
        while (found := ingest(here.source(*users(12)))).interrupted is not None:
            assert isinstance(found.interrupted, QuotaExhaustedError)
            time.sleep(max(0, found.interrupted.at - time.time()))
            runs += 1
            assert runs < 20
        assert runs > 0
        assert found_items(found) == here.expected(range(12))
        wire = here.simulator.api.wire.traffic
        fetched = sum(count for url, count in wire.urls.items() if "/playlists/" in url)
        assert fetched == sum("/playlists/" in url for url in wire.urls) + _refused(here, "/playlists/")

    def test_the_budget_ends_the_run(self, install: Install) -> None:
        here = install({"spotify_daily_budget": 20})
        found = ingest(here.source(*users(12)))
        assert isinstance(found.interrupted, QuotaExhaustedError)
        assert "SPOTIFY_DAG_SPOTIFY_DAILY_BUDGET" in str(found.interrupted)
        assert here.traffic().urls.total() == 20

    def test_two_processes_do_not_read_at_once(self, install: Install) -> None:
        here = install()
        with locked(here.data / "spotify" / "simulator.lock"):
            found = ingest(here.source(*users(2)))
        assert isinstance(found.interrupted, ResumeLaterError)
        assert "Another process" in str(found.interrupted)
        assert here.traffic().urls.total() == 0

    @pytest.mark.medium
    def test_a_spotify_out_of_order_ends_the_run_and_loses_nothing(self, install: Install) -> None:
        here = install({"spotify_deadline": 0.5})
        first = ingest(here.source(*users(6)))
        here.faults(server_error=1)
        here.traffic()
        found = ingest(here.source(*users(6), asked=time.time()))
        assert "out of order" in str(found.interrupted)
        assert found.items() == first.items()
        assert here.traffic().urls.total() < 100


class TestFaults:
    @pytest.mark.medium
    def test_every_kind_of_fault_at_15_percent_changes_nothing(self, install: Install) -> None:
        """The full one, 300 users and 20 kills, is ``python -m bench spotify``."""
        here = install({"spotify_timeout": 0.5}, users=25, tracks=10)
        rates = dict.fromkeys(RATE_KINDS, 0.15 / len(RATE_KINDS))
        here.faults(**rates, retry_after=0, long_retry_after=0, drip_seconds=2)
        rounds = 0
        while (found := ingest(here.source(*users(25)))).interrupted is not None:
            time.sleep(max(0, found.interrupted.at - time.time()))
            rounds += 1
            assert rounds < 30
        assert found_items(found) == here.expected(range(25))
        assert found.rejects.height == 0
        assert len(here.traffic().faults) >= 8

    @pytest.mark.process
    @pytest.mark.slow
    def test_killed_again_and_again_it_ends_the_same_and_fetches_no_playlist_twice(
        self, install: Install, tmp_path: Path
    ) -> None:
        here = install(users=25, tracks=10, latency=0.03)
        source = here.source(*users(25))
        command = [sys.executable, str(WORKER), here.simulator.url, str(here.data), source.users]
        random_ = random.Random(7)
        for _ in range(3):
            worker = subprocess.Popen(command, stdout=subprocess.PIPE)
            until(lambda: here.simulator.api.wire.traffic.endpoints[ITEMS] > 0)
            time.sleep(random_.uniform(0, 0.4))
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        before = here.simulator.api.wire.traffic.endpoints[ITEMS]
        assert 0 < before < 125
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        assert json.loads(done.stdout) == [list(row) for row in here.expected(range(25))]
        # Unfinished ones, at most one per thread and kill, are fetched again.
        twice = [url for url, count in here.traffic().urls.items() if count > 1 and "/playlists/" in url]
        assert len(twice) <= 3 * 5


class TestDevelopmentMode:
    def test_others_playlists_are_refused_in_one_line_and_with_one_request(self, install: Install) -> None:
        here = install(mode="development")
        with pytest.raises(NotPermittedError) as error:
            ingest(here.source(*users(12)))
        line = str(error.value)
        assert "\n" not in line
        for part in ("status 403", "development mode", "spotify-dag login", "export", "spotify-dag add FILE --as NAME"):
            assert part in line
        assert here.traffic().urls.total() == 1


class TestOpening:
    def test_it_needs_an_app(self, tmp_path: Path) -> None:
        settings = settings_for("http://127.0.0.1:1", tmp_path, spotify_client_id=None)
        with pytest.raises(SourceError, match=r"SPOTIFY_DAG_SPOTIFY_CLIENT_ID"):
            SpotifySource(settings, None)

    @pytest.mark.parametrize(
        ("listed", "message"),
        [
            (None, r"--path FILE, or log in"),
            ("nowhere.txt", r"There is no file 'nowhere.txt'"),
            ("a/b/c", r"There is no file 'a/b/c'"),
        ],
    )
    def test_it_needs_users(self, tmp_path: Path, listed: str | None, message: str) -> None:
        with pytest.raises(SourceError, match=message):
            SpotifySource(settings_for("http://127.0.0.1:1", tmp_path), listed)

    def test_a_list_without_users_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "users.txt").write_text("two words\n")
        source = SpotifySource(settings_for("http://127.0.0.1:1", tmp_path), str(tmp_path / "users.txt"))
        with pytest.raises(SourceError, match=r"names no Spotify user. Row 1: 'two words'"):
            ingest(source)

    @pytest.mark.parametrize(
        ("url", "marked"),
        [
            ("https://api.spotify.com/v1", "spotify"), ("https://127.0.0.1.example.org/v1", "spotify"),
            ("http://127.0.0.1:80/v1", "synthetic"), ("http://[::1]:80/v1", "synthetic"),
            ("http://localhost/v1", "synthetic"),
        ],
    )  # fmt: skip
    def test_rows_are_marked_by_the_configured_host(self, tmp_path: Path, url: str, marked: str) -> None:
        settings = settings_for("http://127.0.0.1:1", tmp_path).model_copy(update={"spotify_api_url": url})
        (tmp_path / "users.txt").write_text("somebody")
        assert (SpotifySource(settings, str(tmp_path / "users.txt"))._marked or "spotify") == marked


def _refused(here: Installation, part: str) -> int:
    """Return how many requests were asked twice because the first was refused."""
    return sum(count - 1 for url, count in here.simulator.api.wire.traffic.urls.items() if part in url and count > 1)
