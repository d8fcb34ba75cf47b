"""What is read of ListenBrainz is what the world holds, and unchanged users cost one request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import polars as pl
import pytest

from spotify_dag.simulator.faults_and_limits import Faults
from spotify_dag.simulator.listening import START
from spotify_dag.sources.base import SourceError
from spotify_dag.sources.listenbrainz import ListenBrainzSource, one_listener
from spotify_dag.sources.request_ledger import WindowLedger
from spotify_dag.sources.user_mirror import UserMirror
from spotify_dag.tombstones import Tombstones
from spotify_dag_tests.sources.listenbrainz.installation import Installation, expected_plays, user_id

Install = Callable[..., Installation]


@contextmanager
def mirror_of(source: ListenBrainzSource) -> Iterator[UserMirror]:
    with closing(UserMirror.open(source.mirror_path)) as mirror:
        yield mirror


LISTENS, COUNT = "/1/user/{id}/listens", "/1/user/{id}/listen-count"


def test_all_listens_are_read_page_by_page(install: Install) -> None:
    here = install(listens=2_600)
    found = here.read()
    assert all(found.plays(number) == expected_plays(here.listening, number) for number in range(4))
    assert found.interrupted is None
    assert found.raw["source"].unique().to_list() == ["synthetic"]
    pages = sum(-(-(len(here.listening.listens(n).at) + 1) // 1_000) for n in range(4))
    assert pages <= here.requests()[LISTENS] <= pages + 4


def test_a_page_may_end_within_a_second(install: Install) -> None:
    here = install(users=1, listens=600)
    # 1,500 listens in three seconds: both ends of the first page lie within one.
    tracks = len(here.listening.counts(0)[0])
    for second in range(3):
        here.listening.change(0, add=min(500, tracks), at=START + second)
        for _ in range(4):
            here.listening.change(0, add=1, at=START + second)
    found = here.read()
    assert found.plays(0) == expected_plays(here.listening, 0)


def test_rows_are_tracks_with_plays_most_played_first(install: Install) -> None:
    here = install(users=1)
    rows = here.read().raw.filter(pl.col("playlist_id") == "listens").sort("position")
    assert rows["plays"].is_sorted(descending=True)
    assert rows["position"].to_list() == list(range(rows.height))
    world = here.listening.world
    artists = {
        mbid: world.artists.names[n] for n in range(len(world.artists.names)) if (mbid := here.listening.artist_mbid(n))
    }
    mapped = rows.drop_nulls("artist_id")
    assert mapped["artist_name"].to_list() == [artists[mbid] for mbid in mapped["artist_id"]]
    assert 0 < mapped.height < rows.height


def test_unchanged_users_cost_one_request_each(install: Install) -> None:
    here = install()
    here.read()
    here.requests()
    for look in range(2, 10):
        here.read()
        asked = here.requests()
        # Every eighth look asks for loved and hated tracks, which are two requests, in place of listens.
        assert sum(asked.values()) == (8 if "/1/feedback/user/{id}/get-feedback" in asked else 4), (look, asked)


def test_new_listens_are_added(install: Install) -> None:
    here = install()
    here.read()
    here.listening.change(1, add=7)
    here.requests()
    found = here.read()
    assert here.requests() == {LISTENS: 4, COUNT: 1}
    assert found.plays(1) == expected_plays(here.listening, 1)


def test_more_new_listens_than_a_page_are_read_down_to_the_known_ones(install: Install) -> None:
    here = install(users=1, listens=3_000)
    here.read()
    here.listening.change(0, add=1_500)
    here.requests()
    found = here.read()
    assert here.requests() == {LISTENS: 1 + 2, COUNT: 1}
    assert found.plays(0) == expected_plays(here.listening, 0)


@pytest.mark.parametrize(
    "change",
    [{"remove": 5}, {"add": 3, "at": START + 40}, {"remove": 5, "add": 5}],
    ids=["deleted", "imported", "both"],
)
def test_listens_deleted_or_imported_further_back_are_noticed(install: Install, change: dict[str, int]) -> None:
    here = install(users=1)
    here.read()
    here.listening.change(0, **change)
    for _ in range(4):  # the number of listens is asked for every fourth time, or with new listens
        found = here.read()
    assert found.plays(0) == expected_plays(here.listening, 0)


def test_a_deleted_newest_listen_is_noticed_at_once(install: Install) -> None:
    here = install(users=1)
    here.listening.change(0, add=1)
    here.read()
    listens = here.listening.listens(0)
    here.listening._changed[0] = replace(listens, track=listens.track[:-1], at=listens.at[:-1])
    assert here.read().plays(0) == expected_plays(here.listening, 0)


def test_loved_tracks_are_a_list_and_hated_ones_are_left_out(install: Install) -> None:
    here = install(users=12)
    number = next(n for n in range(12) if here.listening.feedback(n, 1))
    found = here.read()
    world = here.listening.world
    loved = [world.tracks.names[track] for track in here.listening.feedback(number, 1)]
    assert {title for _, title in found.plays(number, "loved")} == set(loved)
    (hated,) = here.listening.feedback(number, -1)
    plays = int(dict(zip(*here.listening.counts(number), strict=True))[hated])
    told = found.rejects.filter(pl.col("user_id") == user_id(number)).select("value", "reason", "dropped").rows()
    assert told == [(str(plays), "banned by the user", True)]


def test_listens_without_artist_are_one_line_for_each_reason(install: Install) -> None:
    here = install(users=1, faults=Faults(no_artist=0.05, unknown_artist=0.05))
    found = here.read()
    listens = here.listening.listens(0).track
    told = dict(found.rejects.filter("dropped").select("reason", "value").rows())
    assert told == {
        "no artist name": str((listens == -1).sum()),
        "no artist of its own: a placeholder such as Various Artists": str((listens == -2).sum()),
    }
    assert found.plays(0) == expected_plays(here.listening, 0)
    assert found.ingests["rows_read"].sum() == found.raw.height + 2


def test_names_of_nobody_are_told_with_their_line(install: Install) -> None:
    here = install(users=1)
    here.lines = ["https://listenbrainz.org/user/Synthetic-000000/", "../../1/x", "Synthetic-000000", "nobody here"]
    found = here.read()
    assert found.raw["user_id"].unique().to_list() == [user_id(0)]
    told = found.rejects.select("row", "user_id", "reason").rows()
    assert (2, None, "names no user of ListenBrainz") in told
    (unknown,) = [reason for _, user, reason in told if user == "listenbrainz-nobody%20here"]
    assert "Cannot find user: nobody here" in unknown


def test_deleted_accounts_are_gone_and_what_was_known_stays(install: Install) -> None:
    here = install(users=2)
    before = here.read()
    here.listening.gone.add(1)
    found = here.read()
    gone = found.users.filter(pl.col("gone_since").is_not_null())["user_id"].to_list()
    assert gone == [user_id(1)]
    assert found.plays(1) == before.plays(1)
    here.listening.gone.clear()
    assert here.read().users["gone_since"].null_count() == 2


def test_a_wrong_address_makes_nobody_gone(install: Install) -> None:
    here = install(users=1)
    here.read()
    elsewhere = here.source(listenbrainz_api_url=f"{here.simulator.url}/simulator")
    list(elsewhere.batches())
    with mirror_of(elsewhere) as mirror:
        (user,) = mirror.users([user_id(0)])
    assert user.gone_since is None
    assert "status 404" in (user.problem or "")


def test_users_with_very_many_listens_are_read_as_artists(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ListenBrainzSource, "most_listens", 150)
    here = install(users=3, listens=400)
    sizes = [len(here.listening.listens(n).at) for n in range(3)]
    assert min(sizes) > 150
    found = here.read()
    world = here.listening.world
    for number in range(3):
        expected = {(world.artists.names[artist], None): plays for artist, plays in here.listening.artists(number)}
        assert found.plays(number) == expected
    told = found.rejects.filter(pl.col("user_id") == user_id(0))["reason"].to_list()
    assert told == [f"{sizes[0]:,} listens: read as statistics of artists, without tracks"]
    here.requests()
    here.read()
    assert here.requests() == {"/1/stats/user/{id}/artists": 3}


def test_without_statistics_the_newest_listens_are_read(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ListenBrainzSource, "most_listens", 1_000)
    here = install(users=1, listens=4_000, faults=Faults(no_statistics=1))
    found = here.read()
    total = len(here.listening.listens(0).at)
    assert total > 2_000
    assert found.raw["plays"].sum() == 1_000
    assert found.rejects["reason"].to_list() == [f"{total:,} listens: the newest 1,000 are read"]


def test_artists_only(install: Install) -> None:
    here = install(users=2)
    found = here.read(listenbrainz_artists_only=True)
    assert found.raw.filter(pl.col("playlist_id") == "listens")["track_name"].null_count() > 0
    assert LISTENS not in here.requests()


def test_genres_are_those_of_the_world_and_asked_for_once(install: Install) -> None:
    here = install(users=2)
    here.read()
    assert here.requests()["/1/metadata/artist"] > 0
    genres = here.source().artist_genres()
    artists = here.listening.world.artists
    expected = {artist: (artists.genres[number] or ["seen live"])[:10] for number, artist in enumerate(artists.names)}
    told = dict(genres.select("artist_name", "genres").iter_rows())
    assert told
    assert all(genres == expected[artist] for artist, genres in told.items())
    here.read()
    assert "/1/metadata/artist" not in here.requests()


def test_forgotten_users_are_not_asked_for(install: Install) -> None:
    here = install(users=2)
    here.read()
    Tombstones(here.data).add(user_id(1))
    here.requests()
    found = here.read()
    assert here.requests() == {LISTENS: 1}
    assert found.users["user_id"].to_list() == [user_id(0)]
    with mirror_of(here.source()) as mirror:
        assert mirror.users([user_id(1)]) == []


def test_a_long_limit_ends_the_source_and_is_kept_by_the_next(install: Install) -> None:
    here = install(users=3, listenbrainz_requests=5, listenbrainz_window=3_600.0)
    begun = time.monotonic()
    found = here.read()
    assert time.monotonic() - begun < 30
    assert "No request is allowed" in str(found.interrupted)
    assert found.ingests.is_empty()
    spent = sum(here.requests().values())
    assert 1 <= spent <= 5
    assert here.read().interrupted is not None
    assert here.requests() == {}


def test_a_read_that_was_cut_short_goes_on_where_it_was(install: Install) -> None:
    here = install(users=1, listens=6_000, listenbrainz_requests=6, listenbrainz_window=3_600.0)
    assert here.read().interrupted is not None
    first = here.requests()
    assert 1 <= first[LISTENS] <= 3  # after the number of listens, loved and hated tracks
    with mirror_of(here.source()) as mirror:
        mirror.database.rows("delete from windows")
    here.simulator.api.wire.window.requests = 1_000
    here.simulator.api.wire.window._ends = 0
    found = here.read()
    pages = -(-len(here.listening.listens(0).at) // 1_000)
    assert pages > 3
    assert here.requests()[LISTENS] == pages - first[LISTENS]
    assert found.plays(0) == expected_plays(here.listening, 0)


def test_the_token_is_sent_and_never_told(install: Install) -> None:
    here = install(users=1)
    source = here.source(listenbrainz_token="s3cret")
    assert "s3cret" not in repr(source)
    list(source.batches())
    assert b"s3cret" not in source.mirror_path.read_bytes()


def test_one_listener_leaves_nothing_but_its_requests(install: Install) -> None:
    here = install(users=1)
    settings = here.settings()
    with one_listener(settings, "Synthetic-000000") as source:
        (batch,) = source.batches()
        kept = source.settings.data
    assert batch.records["plays"].sum() == len(here.listening.listens(0).at)
    assert not kept.exists()
    with mirror_of(here.source()) as mirror:
        assert mirror.users([user_id(0)]) == []
        assert sum(WindowLedger(mirror.database).spent().values()) >= 4


def test_a_source_without_users_says_how_to_name_them(install: Install) -> None:
    here = install(users=1)
    with pytest.raises(SourceError, match="spotify-dag add listenbrainz:NAME"):
        ListenBrainzSource(here.settings())
    with pytest.raises(SourceError, match="no file"):
        ListenBrainzSource(here.settings(), str(here.data / "absent.txt"))
