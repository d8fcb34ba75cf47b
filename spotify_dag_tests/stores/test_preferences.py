"""What users say of their own taste: kept, undone, bounded, and a part of what makes them stale."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import polars as pl
import pytest

from spotify_dag.files import DamagedFileError
from spotify_dag.schemas import user_buckets
from spotify_dag.stores.preferences import MOST_PREFERENCES, Preference, PreferenceError, Preferences
from spotify_dag.tombstones import Tombstones

ABBA, QUEEN = Preference("artist", "ABBA"), Preference("artist", "Queen")
FOLK, SLEEP = Preference("genre", "Folk"), Preference("playlist", "Sleep")
MORE, NOT = Preference("more-like", "track1"), Preference("not-for-me", "track2")


@pytest.fixture
def preferences(tmp_path: Path) -> Preferences:
    return Preferences(tmp_path / "preferences", 4, Tombstones(tmp_path))


def test_said_and_undone_by_any_spelling(preferences: Preferences) -> None:
    assert preferences.of("ann") == []
    assert preferences.change("ann", [ABBA, FOLK, NOT]) == [ABBA, FOLK, NOT]
    assert preferences.change("ann", [Preference("artist", " Abba "), SLEEP]) == [ABBA, FOLK, NOT, SLEEP]
    assert preferences.change("ann", [MORE], [Preference("artist", "abba"), Preference("genre", "FOLK")]) == [
        NOT, SLEEP, MORE,
    ]  # fmt: skip
    assert preferences.of("ann") == [NOT, SLEEP, MORE]
    assert preferences.of("bob") == []
    left_out = preferences.left_out(range(4))
    assert left_out.rows() == [("ann", "playlist", "sleep")]


def test_digests_tell_what_is_left_out_and_nothing_else(preferences: Preferences) -> None:
    assert preferences.digests() == {}
    preferences.change("ann", [ABBA, SLEEP])
    preferences.change("bob", [SLEEP, ABBA])
    preferences.change("cem", [MORE, NOT])
    digests = preferences.digests()
    assert digests["ann"] == digests["bob"] != 0
    assert digests["cem"] == 0
    preferences.change("ann", [MORE])
    assert preferences.digests()["ann"] == digests["ann"]
    preferences.change("ann", [QUEEN])
    assert preferences.digests()["ann"] not in (0, digests["ann"])
    preferences.change("ann", [], [ABBA, SLEEP, QUEEN])
    assert preferences.digests()["ann"] == 0

    users = pl.LazyFrame({"user_id": ["bob", "ann", "eve"], "content_hash": [5, 6, -7]})
    hashed = preferences.hashed(users).collect()
    assert hashed["user_id"].to_list() == ["bob", "ann", "eve"]
    assert hashed["content_hash"].to_list() == [5 ^ digests["bob"], 6, -7]


def test_files_stay_when_buckets_are_split(preferences: Preferences) -> None:
    """Of 16 buckets, a file has four; each is told of its own users alone."""
    users = [f"user-{number}" for number in range(40)]
    for user in users:
        preferences.change(user, [Preference("genre", user)])
    split = Preferences(preferences.root, 16, preferences.tombstones, made_with=4)
    assert [split.of(user) for user in users] == [preferences.of(user) for user in users]
    assert split.digests() == preferences.digests()
    assert split.left_out(range(16)).sort("user_id").equals(preferences.left_out(range(4)).sort("user_id"))
    for bucket in range(16):
        here = {user for user, own in zip(users, user_buckets(users, 16), strict=True) if own == bucket}
        assert set(split.digests([bucket])) == set(split.left_out([bucket])["user_id"]) == here
    taken = Preferences(preferences.root.parent / "used", 16, preferences.tombstones, made_with=4)
    taken.take_over(split, [1])
    taken.take_over(split, [5])
    split.change(users[0], [ABBA])
    mine = user_buckets(users[:1], 16)
    assert set(taken.digests()) == set(split.digests([1, 5]))
    taken.take_over(split, [*mine, 1])
    assert taken.of(users[0]) == split.of(users[0])
    assert set(taken.digests()) == set(split.digests([*mine, 1, 5]))
    assert split.remove_user(users[0]) == 2
    assert preferences.of(users[0]) == []


def test_a_change_is_seen_by_version(preferences: Preferences) -> None:
    before = preferences.versions()
    preferences.change("ann", [ABBA])
    after = preferences.versions()
    assert before != after
    preferences.change("ann", [ABBA])
    assert preferences.versions() == after


@pytest.mark.parametrize(
    ("add", "remove", "problem"),
    [
        ([Preference("artist", "  ")], [], "1 to 500 characters, not 0"),
        ([Preference("genre", "x" * 501)], [], "1 to 500 characters, not 501"),
        ([Preference("artist", "a\nb")], [], r"'a\\nb' is no name of any artist"),
        ([Preference("artist", "\udcff")], [], r"'\\udcff' is no name"),
        ([Preference("era", "80s")], [], "'era' cannot be left out. Choose from: artist, genre"),  # type: ignore[arg-type]
        ([], [QUEEN], "There is no artist 'Queen' to undo. There is: artist 'ABBA'"),
        ([], [FOLK], "There is no genre 'Folk' to undo. There is: none of this kind"),
        ([Preference("artist", f"a{n}") for n in range(MOST_PREFERENCES)], [], "would have 502 preferences"),
    ],
)
def test_what_cannot_be_changes_nothing(
    preferences: Preferences, add: list[Preference], remove: list[Preference], problem: str
) -> None:
    preferences.change("ann", [ABBA])
    with pytest.raises(PreferenceError, match=problem):
        preferences.change("ann", [FOLK, *add], remove)
    assert preferences.of("ann") == [ABBA]


def test_forgotten_users_leave_nothing_and_bring_nothing(preferences: Preferences, tmp_path: Path) -> None:
    preferences.change("ann", [ABBA, FOLK])
    preferences.change("bob", [ABBA])
    used = Preferences(tmp_path / "used", 4, preferences.tombstones)
    Tombstones(tmp_path).add("ann")
    used.take_over(preferences, range(4))
    assert used.of("ann") == []
    assert used.of("bob") == [ABBA]
    assert preferences.remove_user("ann") == 2
    assert preferences.remove_user("ann") == 0
    assert not any(b"ann" in file.read_bytes() for file in tmp_path.rglob("*.json"))
    with pytest.raises(PreferenceError, match="'ann' was forgotten"):
        preferences.change("ann", [ABBA])


def test_a_damaged_file_is_named(preferences: Preferences) -> None:
    preferences.change("ann", [ABBA])
    (file,) = preferences.root.glob("*.json")
    assert int(file.stem) == user_buckets(["ann"], 4)[0]
    file.write_text('{"ann": [{"kind": "artist"}]}')
    with pytest.raises(DamagedFileError, match=rf"{file.name} is damaged: .*put it back from a backup"):
        preferences.of("ann")


def _say(root: Path, number: int) -> None:
    for place in range(20):
        Preferences(root, 1).change(f"user{number % 2}", [Preference("artist", f"{number}-{place}")])


@pytest.mark.slow
def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    spawned = multiprocessing.get_context("spawn")
    writers = [spawned.Process(target=_say, args=(tmp_path, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert {user: len(Preferences(tmp_path, 1).of(user)) for user in ("user0", "user1")} == {"user0": 40, "user1": 20}
