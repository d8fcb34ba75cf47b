"""Users who go, come back, are forgotten, or whose items were dropped for their age: what is asked and yielded."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

import pytest

from spotify_dag.lifecycle.find_mentions import find_mentions
from spotify_dag.lifecycle.forget import forget
from spotify_dag.project import Project
from spotify_dag.simulator.wire import Traffic
from spotify_dag.sources.spotify.store import Database, Mirror, database_path, mirrors
from spotify_dag.sources.spotify.tokens import Logins
from spotify_dag.tombstones import Tombstones
from spotify_dag_tests.sources.spotify.conftest import Ingested, Installation, found_items, ingest, user_id
from spotify_dag_tests.sources.spotify.test_login import logged_in

Install = Callable[..., Installation]


def asked(here: Installation, *numbers: int) -> Ingested:
    """Read users anew."""
    return ingest(here.source(*map(user_id, numbers), asked=time.time()))


def items_fetched(traffic: Traffic) -> int:
    return sum(count for endpoint, count in traffic.endpoints.items() if "playlists/{" in endpoint)


def mirror_of(here: Installation) -> Mirror:
    return Mirror(Database(database_path(here.settings)))


@pytest.mark.medium
def test_who_goes_is_kept_and_marked_and_may_come_back(install: Install) -> None:
    here, smaller = install(), install(users=6)
    first = asked(here, 1, 2, 8)
    assert first.users["gone_since"].null_count() == 3
    before = time.time()
    gone = asked(smaller, 1, 2, 8)
    assert found_items(gone) == found_items(first)
    (since,) = gone.users.filter(user_id=user_id(8))["gone_since"].to_list()
    assert before - 1 <= since.timestamp() <= time.time()
    assert gone.users["gone_since"].null_count() == 2
    again = asked(smaller, 1, 2, 8)
    assert again.users.filter(user_id=user_id(8))["gone_since"].to_list() == [since]
    back = asked(here, 1, 2, 8)
    assert back.users["gone_since"].null_count() == 3
    assert found_items(back) == here.expected(range(1, 3)) + here.expected(range(8, 9))


@pytest.mark.medium
def test_when_nobody_is_found_nobody_is_gone(install: Install) -> None:
    here = install()
    first = asked(here, 8, 9)
    here.faults(others_not_found=1)
    here.traffic()
    found = asked(here, 8, 9)
    assert found.users["gone_since"].null_count() == 2
    assert found_items(found) == found_items(first)
    assert all("answers 404 for every other user" in reason for reason in found.rejects["reason"])
    # Both users, and one that is always there.
    assert here.traffic().urls.total() == 3
    here.faults()
    assert found_items(asked(here, 8, 9)) == found_items(first)


def test_all_that_are_asked_for_may_be_gone_where_others_are_found(install: Install) -> None:
    here, smaller = install(), install(users=6)
    asked(here, 8, 9)
    assert asked(smaller, 8, 9).users["gone_since"].null_count() == 0


@pytest.mark.medium
def test_a_login_that_is_read_says_nothing_of_others(install: Install) -> None:
    """The endpoint of others' playlists may be taken from an app that still reads who has logged in."""
    here = install()
    logged_in(here, 1)
    first = asked(here, 1, 8, 9)
    here.faults(others_not_found=1)
    found = asked(here, 1, 8, 9)
    assert found.users["gone_since"].null_count() == 3
    assert found_items(found) == found_items(first)


def test_a_forgotten_user_is_not_even_asked_for(install: Install) -> None:
    here = install()
    asked(here, 1, 2)
    Tombstones(here.data).add(user_id(2))
    with closing(mirror_of(here).database) as database:
        assert Mirror(database).remove(user_id(2))
    (stored,) = mirrors(here.settings)
    assert not any(user_id(2).encode() in file.read_bytes() for file in stored.parent.glob("*.sqlite*"))
    here.traffic()
    found = asked(here, 1, 2)
    assert found_items(found) == here.expected(range(1, 2))
    assert found.users["user_id"].to_list() == [user_id(1)]
    assert not [url for url in here.traffic().urls if user_id(2) in url]


def test_the_last_login_that_is_forgotten_takes_its_source_along(install: Install) -> None:
    here = install()
    project = Project.open(here.settings)
    token = {"access_token": "a", "refresh_token": "r", "expires_at": time.time() + 3600}
    for number in (1, 2):
        Logins(here.settings).keep(user_id(number), token, time.time())
    project.inbox.register_source("spotify", {})
    assert forget(project, user_id(1)).deleted == {"logins": 1}
    assert [source.name for source in project.inbox.sources()] == ["spotify"]
    assert forget(project, user_id(2)).deleted == {"logins": 1}
    assert project.inbox.sources() == []
    assert [find_mentions(project, user_id(number)).total for number in (1, 2)] == [0, 0]


def test_a_list_is_named_and_one_under_the_data_root_is_cleared(install: Install) -> None:
    here = install()
    project = Project.open(here.settings)
    own = here.data / "users.txt"
    own.parent.mkdir(parents=True, exist_ok=True)
    for file in (own, here.data.parent / "outside.txt"):
        file.write_text(f"{user_id(1)}\nhttps://open.spotify.com/user/{user_id(2)}?si=1\n{user_id(3)}\n")
    project.inbox.register_source("spotify", {"path": str(own)})
    asked(here, 2)
    assert forget(project, user_id(2)).still_named == []
    assert own.read_text() == f"{user_id(1)}\n{user_id(3)}\n"
    assert find_mentions(project, user_id(2)).counts == {}
    project.inbox.register_source("spotify", {"path": str(here.data.parent / "outside.txt")})
    assert forget(project, user_id(2)).still_named == [str(here.data.parent / "outside.txt")]


@pytest.mark.medium
def test_dropped_items_are_not_fetched_again_until_their_user_changes(install: Install) -> None:
    here = install(seed=11)
    whole = asked(here, 1, 5)
    with closing(mirror_of(here).database) as database:
        mirror = Mirror(database)
        assert mirror.old_users(0) == []
        assert set(mirror.old_users(time.time() + 1)) == {user_id(1), user_id(5)}
        assert mirror.drop_contents([user_id(1)]) > 1
        assert mirror.old_users(time.time() + 1) == [user_id(5)]
    here.traffic()
    found = asked(here, 1, 5)
    assert items_fetched(here.traffic()) == 0
    assert found_items(found) == here.expected(range(5, 6))
    assert found.rejects.height == 0
    assert found.users.filter(user_id=user_id(1))["rows_kept"].to_list() == [0]

    here.simulator.api.world.change(here.simulator.api.world.own(1)[0], remove=1, add=1)
    again = asked(here, 1, 5)
    assert found_items(again) == here.expected(range(1, 2)) + here.expected(range(5, 6)) != found_items(whole)


@pytest.mark.medium
def test_a_user_who_shares_a_playlist_with_an_old_one_is_old_too(install: Install) -> None:
    here = install()
    asked(here, *range(12))
    with closing(mirror_of(here).database) as database:
        mirror = Mirror(database)
        known = mirror.users(list(map(user_id, range(12))))
        listed = {user.user_id: {entry.playlist_id for entry in user.playlists} for user in known}
        pair = next((a, b) for a in listed for b in listed if a < b and listed[a] & listed[b])
        own = next(iter(listed[pair[0]] - listed[pair[1]]))
        with database.changing() as connection:
            connection.execute("update playlists set fetched_at = 1 where playlist_id = ?", [own])
        assert set(pair) <= set(mirror.old_users(2))


def test_a_mirror_of_an_older_version_gets_the_column(install: Install) -> None:
    here = install()
    asked(here, 1)
    with closing(Database(database_path(here.settings))) as database:
        database.rows("alter table users drop column gone_since")
    assert asked(here, 1).users["gone_since"].null_count() == 1
