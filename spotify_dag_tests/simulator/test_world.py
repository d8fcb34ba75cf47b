"""The world as numbers: ids there and back, users on demand, changes that leave a trace."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from spotify_dag.simulator.world import BASE62, BLOCKS_KEPT, EDITORIAL_OWNER, Ids, World, drawn_block, is_base62_id
from spotify_dag.sources.synthetic import SyntheticSource


def made(users: int = 60, **others: int) -> World:
    return World(**{"users": users, "seed": 0, "playlists": 5, "tracks": 50, **others})


class TestIds:
    def test_ids_are_distinct_look_like_spotifys_and_lead_back(self) -> None:
        ids = Ids("playlist", 3, 200_000)
        numbers = [*range(3_000), 199_999]
        made = [ids.id_of(number) for number in numbers]
        assert len(set(made)) == len(numbers)
        assert all(is_base62_id(identifier) for identifier in made)
        assert [ids.number_of(identifier) for identifier in made] == numbers

    def test_ids_do_not_give_their_order_away(self) -> None:
        made = [Ids("track", 0, 1_000).id_of(number) for number in range(1_000)]
        assert len({identifier[:4] for identifier in made}) > 900
        assert len({identifier[-2:] for identifier in made}) > 500

    def test_another_kind_seed_or_world_has_other_ids(self) -> None:
        identifier = Ids("track", 0, 1_000).id_of(7)
        assert Ids("artist", 0, 1_000).number_of(identifier) is None
        assert Ids("track", 1, 1_000).number_of(identifier) is None
        assert Ids("track", 0, 7).number_of(identifier) is None
        assert Ids("track", 0, 8).number_of(identifier) == 7

    @pytest.mark.parametrize(
        "text", ["", "a" * 21, "a" * 23, "a" * 21 + "-", "é" * 22, "Z" * 22, "spotify:track:x", "a" * 22 + "\n"]
    )
    def test_what_is_no_id_is_the_id_of_nothing(self, text: str) -> None:
        assert Ids("track", 0, 1_000).number_of(text) is None

    def test_more_than_128_bits_are_no_id(self) -> None:
        """22 digits hold nearly eight times 128 bits; only one of each eight leads anywhere."""
        ids = Ids("track", 0, 1_000)
        value = sum(BASE62.index(digit) * 62**place for place, digit in enumerate(reversed(ids.id_of(7)))) + 2**128
        digits = [BASE62[value // 62**place % 62] for place in reversed(range(22))]
        assert is_base62_id(alias := "".join(digits))
        assert ids.number_of(alias) is None


class TestPlaylists:
    @pytest.mark.medium
    def test_users_have_the_playlists_of_the_generated_world(self) -> None:
        """The source of the same world is the oracle of everything that reads this one through the Web API."""
        world = made()
        (batch,) = SyntheticSource(users=60).batches()
        expected = batch.records.group_by("user_id", "playlist_position", maintain_order=True).agg(
            pl.col("playlist_name").first(), pl.col("track_name"), pl.col("artist_name"), pl.col("release_year")
        )
        assert expected.height == 300
        numbers = [number for user in range(60) for number in world.own(user)]
        for number, row in zip(numbers, expected.iter_rows(named=True), strict=True):
            playlist = world.playlist(number)
            assert (playlist.owner, playlist.name) == (row["user_id"], row["playlist_name"])
            assert [world.tracks.names[track] for track in playlist.tracks] == row["track_name"]
            artists = world.tracks.artist[playlist.tracks]
            assert [world.artists.names[artist] for artist in artists] == row["artist_name"]
            assert world.tracks.year[playlist.tracks].tolist() == row["release_year"]

    @pytest.mark.medium
    def test_a_large_world_is_drawn_only_where_somebody_looks(self) -> None:
        world = made(users=100_000)
        drawn_block.cache_clear()
        for user in (0, 54_321, 54_999, 99_999, 3):
            playlist = world.playlist(world.own(user)[0])
            assert playlist.owner == world.user_id(user)
            assert len(playlist.tracks) >= 25
        assert drawn_block.cache_info().misses == 3
        assert drawn_block.cache_info().maxsize == BLOCKS_KEPT
        tracks = world.playlist(world.own(3)[2]).tracks
        drawn_block.cache_clear()
        small = made(users=1_000)
        np.testing.assert_array_equal(tracks, small.playlist(small.own(3)[2]).tracks)

    def test_editorial_playlists_hold_the_best_known_tracks_of_a_scene(self) -> None:
        world = made()
        for scene, name in enumerate(world.scenes):
            playlist = world.playlist(scene)
            assert (playlist.owner, playlist.name) == (EDITORIAL_OWNER, f"This is {name}")
            assert set(world.tracks.scene[playlist.tracks]) == {scene}
            popularity = world.tracks.popularity[playlist.tracks]
            assert popularity.min() >= np.delete(world.tracks.popularity[world.tracks.scene == scene], 0).mean()
            assert (np.diff(popularity) <= 0).all()

    def test_libraries_hold_what_users_made_share_and_follow(self) -> None:
        world = made(users=200)
        kinds = {"own": 0, "editorial": 0, "shared": 0, "of others": 0}
        for user in range(200):
            listed = world.listed(user)
            assert listed[:5] == list(world.own(user))
            assert len(set(listed)) == len(listed)
            for playlist in map(world.playlist, listed):
                me = world.user_id(user)
                kinds[
                    "own" if playlist.owner == me
                    else "editorial" if playlist.owner == EDITORIAL_OWNER
                    else "shared" if playlist.collaborator == me
                    else "of others"
                ] += 1  # fmt: skip
        assert kinds["own"] == 1_000
        assert kinds["shared"] == 20
        assert 70 < kinds["editorial"] < 130
        assert 40 < kinds["of others"] < 100

    @pytest.mark.medium
    def test_a_change_takes_from_the_front_and_adds_at_the_end(self) -> None:
        world = made()
        number = world.own(7)[1]
        before = world.playlist(number)
        after = world.change(number, remove=2, add=3)
        np.testing.assert_array_equal(after.tracks[:-3], before.tracks[2:])
        assert not np.isin(after.tracks[-3:], before.tracks).any()
        assert (before.revision, after.revision) == (1, 2)
        assert world.playlist(number) is after
        again = made().change(number, remove=2, add=3)
        np.testing.assert_array_equal(again.tracks, after.tracks)


class TestTop:
    def test_top_tracks_and_artists_are_what_is_heard_most(self) -> None:
        world = made()
        heard = np.concatenate([world.playlist(number).tracks for number in world.own(4)])
        counts = np.bincount(world.tracks.artist[heard], minlength=635)
        top = world.top(4, "artists", "long_term")
        assert set(top) == set(np.flatnonzero(counts))
        assert (np.diff(counts[top]) <= 0).all()
        first = world.playlist(world.own(4)[0]).tracks
        assert set(world.top(4, "tracks", "short_term")) == set(first)
        assert set(first) < set(world.top(4, "tracks", "medium_term")) < set(world.top(4, "tracks", "long_term"))


class TestCatalogue:
    def test_every_track_is_on_one_album_of_its_artist_and_year(self) -> None:
        world = made()
        album, tracks = world.albums.of_track, world.tracks
        found = pl.DataFrame(
            {"album": album, "artist": tracks.artist, "year": tracks.year, "place": world.albums.number_in_album}
        )
        albums = (
            found.group_by("album")
            .agg(
                pl.struct("artist", "year").n_unique().alias("kinds"),
                pl.len(),
                pl.col("place").sort() == pl.int_range(1, pl.len() + 1),
            )
            .sort("album")
        )
        assert albums["kinds"].to_list() == [1] * albums.height
        assert albums["place"].list.all().all()
        assert albums["len"].to_list() == world.albums.size.tolist()
        assert found.select("artist", "year").n_unique() == albums.height
        assert album[world.albums.title_track].tolist() == list(range(albums.height))

    def test_search_finds_names_most_popular_first(self) -> None:
        world = made()
        assert [world.artists.names[number] for number in world.search("artist", "taylor swift")] == ["Taylor Swift"]
        found = world.search("track", 'artist:"Taylor Swift"')
        assert {int(world.tracks.artist[number]) for number in found} == set(world.search("artist", "taylor swift"))
        assert len(found) == 20
        assert (np.diff(world.tracks.popularity[found]) <= 0).all()
        assert {world.tracks.names[world.albums.title_track[number]] for number in world.search("album", "river")}
        assert world.search("playlist", "jazz") == [world.scenes.index("jazz")]
        assert world.search("artist", "nobody of that name") == []


@pytest.mark.parametrize(
    "user", ["synthetic-000060", "synthetic-7", "synthetic-0000007", "SYNTHETIC_000001", "spotify", ""]
)
def test_there_are_no_other_users(user: str) -> None:
    assert made().user_number(user) is None
