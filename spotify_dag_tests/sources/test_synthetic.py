"""The generated world: reproducible, growing without changing, and true to the tastes it was drawn from."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from spotify_dag.sources.base import RECORD_COLUMNS, REJECT_COLUMNS, SourceError
from spotify_dag.sources.synthetic import AUDIO_FEATURES, CATALOGUE, MOODS, SCENE_SOUND, SyntheticSource, track_table

SOUND = (*AUDIO_FEATURES, "tempo", "explicit")


@dataclass(frozen=True)
class World:
    source: SyntheticSource
    records: pl.DataFrame
    heard: pl.DataFrame
    """Records with ``scene`` and sound of the track, ``community`` of the user, and the ``mood`` of the playlist."""


@pytest.fixture(scope="module")
def world() -> World:
    """1,500 users: one full block of 1,000 and half of another."""
    return made(SyntheticSource(users=1_500))


def made(source: SyntheticSource) -> World:
    records = pl.concat(batch.records for batch in source.batches())
    heard = (
        records.join(
            source.track_table.select("track_id", "scene", "tempo", *AUDIO_FEATURES),
            on="track_id",
            maintain_order="left",
        )
        .join(source.tastes().select("user_id", "community"), on="user_id", maintain_order="left")
        .with_columns(pl.col("playlist_name").str.split(" ").list.last().alias("mood"))
    )
    return World(source, records, heard)


def recovered(world: World) -> float:
    """Return the share of users whose most heard scene is the community they were drawn from."""
    counts = world.heard.group_by("user_id", "community", "scene").len().sort("len", "scene", descending=True)
    most = counts.group_by("user_id", maintain_order=True).first()
    assert most.height == world.source.users
    return float((most["scene"] == most["community"]).to_numpy().mean())


class TestReproducible:
    @pytest.mark.medium
    def test_the_same_parameters_give_the_same_frames(self, world: World) -> None:
        before = world.source.track_table
        track_table.cache_clear()  # which sources of one seed share
        again = SyntheticSource(users=1_500)
        assert again.version() == world.source.version()
        assert_frame_equal(made(again).records, world.records)
        assert_frame_equal(again.tastes(), world.source.tastes())
        assert again.track_table is not before
        assert_frame_equal(again.track_table, before)

    @pytest.mark.process
    def test_another_process_draws_the_same(self, world: World) -> None:
        code = (
            "from spotify_dag.sources.synthetic import SyntheticSource\n"
            "batch = next(SyntheticSource(users=20).batches())\n"
            "print(batch.records.hash_rows().sum(), batch.records.height)"
        )
        printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        first = world.records.filter(pl.col("user_id") < "synthetic-000020")
        assert printed.split() == [str(first.hash_rows().sum()), str(first.height)]

    @pytest.mark.parametrize("users", [1, 700, 1_000, 1_001])
    @pytest.mark.medium
    def test_a_larger_world_begins_with_the_users_of_a_smaller(self, world: World, users: int) -> None:
        smaller = SyntheticSource(users=users)
        batches = list(smaller.batches())
        assert len(batches) == smaller.n_batches() == -(-users // 1_000)
        records = pl.concat(batch.records for batch in batches)
        assert records["user_id"].n_unique() == users
        assert_frame_equal(records, world.records.filter(pl.col("user_id") < f"synthetic-{users:06d}"))
        assert_frame_equal(smaller.tastes(), world.source.tastes().head(users))

    @pytest.mark.medium
    def test_another_seed_is_another_world(self, world: World) -> None:
        other = made(SyntheticSource(users=1_000, seed=1))
        assert other.source.version() != SyntheticSource(users=1_000).version()
        same = world.source.tastes().head(1_000)["community"] == other.source.tastes()["community"]
        assert same.mean() < 0.15  # by chance: one in sixteen
        keys = ["user_id", "track_id"]
        common = other.records.select(keys).unique().join(world.records.select(keys).unique(), on=keys).height
        assert common / other.records.height < 0.05
        assert recovered(other) >= 0.97

    def test_every_parameter_changes_the_version(self) -> None:
        worlds = [{}, {"users": 501}, {"seed": 1}, {"playlists": 6}, {"tracks": 51}, {"playlists": 50, "tracks": 5}]
        assert len({SyntheticSource(**parameters).version() for parameters in worlds}) == len(worlds)


@pytest.mark.medium
class TestShape:
    @pytest.mark.medium
    def test_batches_are_records_without_rejects(self, world: World) -> None:
        for batch in world.source.batches():
            assert batch.records.columns == RECORD_COLUMNS
            assert batch.rejects.columns == REJECT_COLUMNS
            assert batch.rejects.height == 0
            counted = batch.records.group_by("user_id", maintain_order=True).agg(pl.len().alias("rows_read"))
            assert_frame_equal(batch.rows_read, counted)

    def test_sizes_are_near_what_was_asked_for(self, world: World) -> None:
        per_playlist = world.records.group_by("user_id", "playlist_id").len()["len"]
        assert len(per_playlist) == 1_500 * 5
        assert per_playlist.mean() == pytest.approx(50, rel=0.02)
        assert (per_playlist.min(), per_playlist.max()) == (25, 75)
        per_user = world.records.group_by("user_id").len()["len"]
        assert per_user.mean() == pytest.approx(250, rel=0.02)
        assert per_user.quantile(0.05) > 180

    @pytest.mark.parametrize(("playlists", "tracks"), [(1, 1), (3, 10), (12, 20)])
    @pytest.mark.medium
    def test_other_sizes(self, playlists: int, tracks: int) -> None:
        (batch,) = SyntheticSource(users=400, playlists=playlists, tracks=tracks).batches()
        sizes = batch.records.group_by("playlist_id").len()["len"]
        assert len(sizes) == 400 * playlists
        assert sizes.mean() == pytest.approx(tracks, rel=0.05)

    def test_positions_count_from_zero_without_gaps(self, world: World) -> None:
        playlists = world.records.group_by("user_id", "playlist_position", "playlist_id").agg(
            pl.col("position").sort() == pl.int_range(pl.len()), pl.len()
        )
        assert playlists["position"].list.all().all()
        assert (
            playlists.group_by("user_id").agg(pl.col("playlist_position").sort())["playlist_position"].to_list()
            == [[0, 1, 2, 3, 4]] * 1_500
        )
        assert playlists["playlist_id"].is_unique().all()

    def test_no_playlist_has_a_track_twice(self, world: World) -> None:
        assert not world.records.select("playlist_id", "track_id").is_duplicated().any()

    def test_every_item_is_whole(self, world: World) -> None:
        unknown = {"album_name", "plays"}
        assert {name for name in RECORD_COLUMNS if world.records[name].null_count()} == unknown
        assert world.records["release_year"].is_between(1900, 2026).all()
        assert world.records["popularity"].is_between(0, 100).all()


class TestTastes:
    def test_mixtures_are_shares_with_one_dominant_scene(self, world: World) -> None:
        tastes = world.source.tastes()
        mixture = tastes["mixture"].to_numpy()
        assert mixture.shape == (1_500, len(SCENE_SOUND))
        np.testing.assert_allclose(mixture.sum(axis=1), 1)
        assert (mixture.max(axis=1) > 0.5).all()
        assert tastes["community"].to_list() == [list(SCENE_SOUND)[place] for place in mixture.argmax(axis=1)]
        sizes = tastes["community"].value_counts()["count"]
        assert len(sizes) == len(SCENE_SOUND)
        assert sizes.min() > 1_500 / 16 * 0.7

    def test_what_users_hear_most_is_their_community(self, world: World) -> None:
        assert recovered(world) >= 0.97

    def test_shares_of_scenes_follow_the_mixture(self, world: World) -> None:
        shares = (
            world.heard.group_by("user_id", "scene")
            .len()
            .with_columns(share=pl.col("len") / pl.sum("len").over("user_id"))
        )
        tastes = world.source.tastes().with_columns(pl.col("mixture").arr.to_list())
        drawn = (
            tastes.select("user_id", "mixture", scene=pl.lit(list(SCENE_SOUND)))
            .explode("mixture", "scene")
            .join(shares, on=["user_id", "scene"], how="left")
            .fill_null(0)
        )
        assert drawn.select(pl.corr("mixture", "share")).item() > 0.9
        # Five playlists cannot show a mixture more finely than in fifths.
        assert (drawn["mixture"] - drawn["share"]).abs().mean() < 0.05

    def test_users_of_a_scene_have_favourites_of_their_own(self, world: World) -> None:
        counts = world.records.group_by("user_id", "artist_id").len()
        top = (
            counts.sort("len", descending=True)
            .group_by("user_id")
            .agg(pl.col("len").head(10).sum() / pl.col("len").sum())
        )
        assert top["len"].mean() > 0.5


class TestPopularity:
    def test_the_best_known_tenth_of_artists_has_a_quarter_of_the_rows(self, world: World) -> None:
        rows = world.records.group_by("artist_id").len()["len"].sort(descending=True)
        assert len(rows) == 635
        assert rows.head(63).sum() / rows.sum() > 0.25
        assert rows[0] / rows.median() > 4

    def test_popular_tracks_are_heard_more(self, world: World) -> None:
        heard = world.source.track_table.join(world.records.group_by("track_id").len(), on="track_id", how="left")
        heard = heard.with_columns(pl.col("len").fill_null(0))
        rows = heard["len"].sort(descending=True)
        assert rows.head(len(rows) // 10).sum() / rows.sum() > 0.3
        ranks = heard.select(pl.corr(pl.col("popularity").rank(), pl.col("len").rank())).item()
        assert ranks > 0.5


class TestScenes:
    def test_tracks_sound_like_their_scene(self, world: World) -> None:
        means = world.source.track_table.group_by("scene").agg(pl.col(SOUND).cast(pl.Float64).mean())
        assert means.height == len(SCENE_SOUND)
        for scene, *found in means.select("scene", *SOUND).iter_rows():
            for name, value, meant in zip(SOUND, found, SCENE_SOUND[scene], strict=True):
                assert value == pytest.approx(meant, abs=1.5 if name == "tempo" else 0.05), (scene, name)

    def test_what_is_explicit_follows_the_scene(self, world: World) -> None:
        shares = dict(world.heard.group_by("scene").agg(pl.col("explicit").mean()).iter_rows())
        assert shares["hip hop"] == pytest.approx(0.65, abs=0.06)
        assert shares["latin"] == pytest.approx(0.25, abs=0.06)
        assert shares["classical"] == 0
        by_users = dict(world.heard.group_by("community").agg(pl.col("explicit").mean()).iter_rows())
        assert by_users["hip hop"] > 2 * max(share for scene, share in by_users.items() if scene != "hip hop")

    def test_eras_follow_the_community(self, world: World) -> None:
        years = world.heard.group_by("user_id", "community").agg(pl.col("release_year").mean().alias("year"))
        means = dict(years.group_by("community").agg(pl.col("year").mean()).iter_rows())
        assert means["jazz"] < means["classic rock"] < 1995 < 2008 < means["indie rock"] < means["k-pop"]
        left = years["year"] - years.select(pl.col("year").mean().over("community"))["year"]
        assert 1 - left.var() / years["year"].var() > 0.5
        # Within a community too, people have times of their own.
        spread = years.filter(community="classic rock")["year"].std()
        assert 4 < spread < 12

    def test_artists_release_while_they_are_active(self, world: World) -> None:
        artists = world.source.artists.select("artist_id", "first_year", "last_year")
        dated = world.source.track_table.join(artists, on="artist_id")
        assert dated.select(pl.col("release_year").is_between("first_year", "last_year").all()).item()

    @pytest.mark.parametrize(
        ("mood", "feature", "up"),
        [(name, feature, strength > 0) for name, feature, strength in MOODS if strength],
    )
    def test_moods_pull_at_what_they_mean(self, world: World, mood: str, feature: str, up: bool) -> None:
        means = dict(world.heard.group_by("mood").agg(pl.col(feature).mean()).iter_rows())
        assert set(means) == {name for name, _, _ in MOODS}
        assert (means[mood] - means["mix"]) * (1 if up else -1) > 0.03

    def test_a_playlist_is_of_one_scene_and_says_so(self, world: World) -> None:
        playlists = world.heard.group_by("playlist_id", "playlist_name").agg(
            pl.col("scene").n_unique().alias("scenes"), pl.col("scene").first()
        )
        assert playlists["scenes"].to_list() == [1] * 7_500
        assert playlists.select(pl.col("playlist_name").str.contains(pl.col("scene"), literal=True).all()).item()


class TestCatalogue:
    def test_it_is_635_real_artists(self, world: World) -> None:
        assert CATALOGUE.is_file()
        artists = world.source.artists
        assert artists.height == 635
        assert artists["name"].n_unique() == artists["artist_id"].n_unique() == 635
        assert set(artists["scene"]) == set(SCENE_SOUND)
        assert artists.select((pl.col("first_year") <= pl.col("last_year")).all()).item()

    def test_some_artists_have_no_genre_and_stay_so(self, world: World) -> None:
        genres = world.source.artist_genres()
        assert genres.columns == ["artist_id", "artist_name", "genres"]
        missing = genres.filter(pl.col("genres").is_null())
        assert missing.height == 12
        assert genres["genres"].drop_nulls().list.len().min() >= 1
        assert not genres["genres"].explode().drop_nulls().is_in([""]).any()
        assert world.records.join(missing, on="artist_id", how="semi").height > 1_000

    def test_every_artist_of_the_records_is_in_it(self, world: World) -> None:
        keys = ["artist_id", "artist_name"]
        assert world.records.select(keys).unique().join(world.source.artist_genres(), on=keys, how="anti").height == 0


BAD = {"users": (0, -1, 100_000_001, 2.5, "many"), "seed": (-1, None), "playlists": (0, 101), "tracks": (0, 401)}


@pytest.mark.parametrize(("option", "value"), [(option, value) for option in BAD for value in BAD[option]])
def test_bad_parameters_are_named(option: str, value: Any) -> None:
    with pytest.raises(SourceError, match=rf"synthetic: {option} is .*; it must be a whole number from \d+ to \d+"):
        SyntheticSource(**{option: value})
