"""Training finds what was planted, the same for the same seed, and says so when there is nothing to train on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
import torch

from spotify_dag.features.embeddings import TextVectors
from spotify_dag.features.genres import bucket_artists, match_genres
from spotify_dag.features.tastes import user_tastes
from spotify_dag.schemas import EMBEDDINGS, RAW_PLAYLISTS, USERS
from spotify_dag.sources.ingestion import Ingestion
from spotify_dag.sources.synthetic import SyntheticSource
from spotify_dag.tower.inputs import TowerInputs, part_dims, tower_inputs
from spotify_dag.tower.model import UserTower
from spotify_dag.tower.training import (
    VIEW_PAIRS,
    TrainedTower,
    TrainingError,
    TrainingSettings,
    info_nce,
    random_pair_cosine,
    retrieval,
    train_tower,
)
from spotify_dag.tower.views import TrainingData

WORLD = SyntheticSource(users=150, playlists=4, tracks=12)
QUICK = TrainingSettings(epochs=2 * len(VIEW_PAIRS), batch=64, validation_share=0.3)
TEXT_DIM = 16


def random_vectors(texts: list[str]) -> TextVectors:
    vectors = np.random.default_rng(0).normal(size=(len(texts), TEXT_DIM)).astype(np.float32)
    return TextVectors(pl.DataFrame({"text": texts}), vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def training_data(users: pl.DataFrame, raw: pl.DataFrame, genres: pl.DataFrame) -> TrainingData:
    """Return training data as the graph makes it, but with a random vector per genre and artist."""
    artist_genres = match_genres(bucket_artists(raw.lazy()), [("source", genres)])
    tastes = user_tastes(raw.lazy(), artist_genres).filter(pl.col("kind") != "year")
    return TrainingData(
        users=users.sort("user_id"),
        raw=raw.sort("user_id", "playlist_id", "position"),
        artist_genres=artist_genres,
        text_vectors=random_vectors(sorted(tastes["name"].unique())),
        top_artist_count=50,
        playlists_count=None,
    )


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Keep tests that run side by side out of each other's way: these networks are too small to share out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def world() -> TrainingData:
    ingestion = Ingestion(
        [WORLD], buckets=range(4), n_buckets=4, profiles_count=None, now=datetime(2026, 1, 1, tzinfo=UTC)
    )
    raw = pl.concat(ingestion.records())
    return training_data(ingestion.users(), raw, WORLD.artist_genres())


@pytest.fixture(scope="module")
def trained(world: TrainingData) -> TrainedTower:
    return train_tower(world, QUICK)


def encode(tower: UserTower, data: TrainingData) -> np.ndarray:
    """Return the user vectors of whole users, as they are served."""
    embedded = data.embed(data.raw)
    return tower.encode(tower_inputs(embedded, tuple(tower.config["part_dims"])))


def neighbours(vectors: np.ndarray, k: int) -> np.ndarray:
    """Return the ``k`` nearest other users of each, ``[users, k]``."""
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -2)
    return np.argsort(-similarity, axis=1)[:, :k]


class TestTraining:
    def test_the_loss_falls(self, trained: TrainedTower) -> None:
        assert [epoch["epoch"] for epoch in trained.history] == list(range(QUICK.epochs))
        loss = [epoch["loss"] for epoch in trained.history]
        # Halves differ in how easily they are told apart: each pair of views is compared with itself, a round later.
        first, second = loss[: len(VIEW_PAIRS)], loss[len(VIEW_PAIRS) :]
        assert all(later < earlier for earlier, later in zip(first, second, strict=True))
        assert sum(second) < 0.8 * sum(first)

    def test_halves_of_unseen_users_find_each_other(self, trained: TrainedTower) -> None:
        assert (trained.metrics["training_users"], trained.metrics["validation_users"]) == (105, 45)
        chance = sum(1 / rank for rank in range(1, 46)) / 45
        assert chance < 0.1
        assert trained.metrics["mrr"] > 5 * chance
        assert trained.metrics["hit_at_10"] > 3 * 10 / 45
        assert trained.metrics["hit_at_1"] <= trained.metrics["mrr"] <= trained.metrics["hit_at_10"] + 0.1

    def test_it_is_watched_on_the_validation_users_alone(self, trained: TrainedTower) -> None:
        # Shares of 45 users; of the other 105, or of all 150, not every one would be a 45th.
        hits = [45 * epoch[name] for epoch in trained.history for name in ("hit_at_1", "hit_at_10")]
        assert hits == pytest.approx([round(hit) for hit in hits], abs=1e-9)
        assert any(round(hit) % 3 for hit in hits)

    def test_the_best_epoch_is_kept(self, trained: TrainedTower) -> None:
        best = max(epoch["mrr"] for epoch in trained.history)
        assert trained.metrics["mrr"] == best
        last = [epoch for epoch in trained.history if epoch["mrr"] == best][-1]
        assert {name: trained.metrics[name] for name in ("hit_at_1", "hit_at_10")} == {
            name: last[name] for name in ("hit_at_1", "hit_at_10")
        }

    def test_the_weights_are_those_of_the_best_epoch(self) -> None:
        data = planted()
        gone_wrong = train_tower(data, TrainingSettings(epochs=12, batch=32, learning_rate=1.0, seed=1))
        assert gone_wrong.history[-1]["mrr"] < gone_wrong.metrics["mrr"] - 0.01, "this test needs a bad last epoch"
        # With too few users to validate on, everybody is watched, on the last pair of views.
        assert gone_wrong.metrics["validation_users"] == 0
        views = data.views(by=VIEW_PAIRS[-1], seed=1_000 + len(VIEW_PAIRS) - 1)
        first, second = (tower_inputs(view, tuple(gone_wrong.tower.config["part_dims"])) for view in views)
        assert retrieval(gone_wrong.tower, first, second)["mrr"] == pytest.approx(gone_wrong.metrics["mrr"], abs=1e-4)

    def test_users_do_not_collapse(self, trained: TrainedTower, world: TrainingData) -> None:
        vectors = encode(trained.tower, world)
        assert vectors.shape == (150, 128)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(150), abs=1e-5)
        similarity = vectors @ vectors.T
        others = similarity[~np.eye(150, dtype=bool)]
        assert others.mean() < 0.5
        assert trained.metrics["random_pair_cosine"] < 0.5
        # All of the room is used: no few directions hold nearly everything.
        spectrum = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False) ** 2
        assert spectrum.sum() ** 2 / (spectrum**2).sum() > 8

    def test_every_weight_is_finite_and_on_the_cpu(self, trained: TrainedTower) -> None:
        for name, tensor in trained.tower.state_dict().items():
            assert torch.isfinite(tensor).all(), name
            assert tensor.device.type == "cpu", name
        assert not trained.tower.training

    def test_people_of_one_community_are_neighbours(self, trained: TrainedTower, world: TrainingData) -> None:
        truth = dict(WORLD.tastes().select("user_id", "community").rows())
        community = np.array([truth[user] for user in world.users["user_id"]])
        nearest = neighbours(encode(trained.tower, world), 3)
        share = (community[nearest] == community[:, None]).mean()
        chance = np.mean([(community == name).mean() for name in community])
        assert chance < 0.1
        assert share > 0.7


class TestSeeds:
    def test_the_same_seed_gives_the_same_weights_bit_by_bit(self, trained: TrainedTower, world: TrainingData) -> None:
        torch.manual_seed(99)
        np.random.seed(99)  # noqa: NPY002 - whatever state the process is in
        again = train_tower(world, QUICK)
        expected = trained.tower.state_dict()
        assert again.tower.state_dict().keys() == expected.keys()
        for name, tensor in again.tower.state_dict().items():
            assert torch.equal(tensor, expected[name]), name
        assert again.history == trained.history
        assert again.metrics == trained.metrics

    def test_another_seed_gives_others_that_are_as_good(self, trained: TrainedTower, world: TrainingData) -> None:
        state = torch.random.get_rng_state()
        heard: list[dict[str, float]] = []
        other = train_tower(world, dataclasses.replace(QUICK, seed=1), heard.append)
        assert heard == other.history
        assert torch.equal(torch.random.get_rng_state(), state), "training moved the random state of the process"
        for name, tensor in other.tower.named_parameters():
            assert not torch.equal(tensor, trained.tower.state_dict()[name]), name
        assert other.metrics["mrr"] > 0.6 * trained.metrics["mrr"]


def planted(blocks: int = 4, users: int = 16) -> TrainingData:
    """Return users who listen to the artists of their own block, and to one artist everybody knows."""
    rng = np.random.default_rng(5)
    rows = [
        (0, f"user {block}-{user:02}", "planted", playlist, playlist, position, None, None, None, None)
        for block in range(blocks)
        for user in range(users)
        for playlist in range(3)
        for position in range(6)
    ]
    names = [
        f"artist {int(user.split()[1].split('-')[0])}-{rng.integers(8)}" if position else "Everybody's Darling"
        for _, user, _, _, _, position, *_ in rows
    ]
    schema = RAW_PLAYLISTS.polars_schema()
    columns = [
        "user_bucket", "user_id", "source", "playlist_id", "playlist_position", "position", "release_year",
        "popularity", "explicit", "plays",
    ]  # fmt: skip
    raw = pl.DataFrame(
        [(*row[:3], f"list {row[3]}", *row[4:]) for row in rows],
        {name: schema[name] for name in columns},
        orient="row",
    ).with_columns(artist_name=pl.Series(names), artist_id=pl.lit(None, pl.String))
    genres = pl.DataFrame(
        [
            (None, f"artist {block}-{number}", [f"genre {block}-{number % 3}"])
            for block in range(blocks)
            for number in range(8)
        ],
        {"artist_id": pl.String, "artist_name": pl.String, "genres": pl.List(pl.String)},
        orient="row",
    )
    who = raw.select("user_bucket", "user_id", "source").unique().with_columns(content_hash=pl.lit(1, pl.Int64))
    return training_data(who.cast({"user_bucket": USERS.polars_schema()["user_bucket"]}), raw, genres)


class TestPlantedTruth:
    def test_users_of_one_block_are_each_others_neighbours(self) -> None:
        data = planted()
        tower = train_tower(data, TrainingSettings(epochs=4, batch=32)).tower
        block = np.array([user[5] for user in data.users["user_id"]])
        vectors = encode(tower, data)
        assert (block[neighbours(vectors, 15)] == block[:, None]).mean() > 0.99
        learned = vectors[:, : tower.config["dim"]]
        learned = learned / np.linalg.norm(learned, axis=1, keepdims=True)
        assert (block[neighbours(learned, 15)] == block[:, None]).mean() > 0.95, "the anchor alone found them"

    def test_without_any_genre_artists_are_enough(self) -> None:
        data = planted()
        unknown = data.artist_genres.with_columns(genres=pl.lit(None, pl.List(pl.String)))
        data = dataclasses.replace(data, artist_genres=unknown)
        tower = train_tower(data, TrainingSettings(epochs=4, batch=32)).tower
        assert tower.config["part_dims"] == [1, TEXT_DIM, 1, 1]
        block = np.array([user[5] for user in data.users["user_id"]])
        assert (block[neighbours(encode(tower, data), 15)] == block[:, None]).mean() > 0.95


class TestNothingToTrainOn:
    def only(self, data: TrainingData, users: int, items: int | None = None) -> TrainingData:
        """Return the first users, with their first items."""
        who = data.users.head(users)
        raw = data.raw.filter(pl.col("user_id").is_in(who["user_id"].implode()))
        if items is not None:
            raw = raw.group_by("user_id", maintain_order=True).head(items).select(data.raw.columns)
        return dataclasses.replace(data, users=who, raw=raw)

    def test_a_single_user(self, world: TrainingData) -> None:
        with pytest.raises(
            TrainingError, match=r"^1 of 1 users have listening that can be split in two; .* at least 2"
        ):
            train_tower(self.only(world, 1), QUICK)

    def test_users_of_a_single_item(self, world: TrainingData) -> None:
        with pytest.raises(TrainingError, match=r"^0 of 150 users have listening that can be split"):
            train_tower(self.only(world, 150, items=1), QUICK)

    def test_nobody(self, world: TrainingData) -> None:
        with pytest.raises(TrainingError, match=r"^0 of 0 users"):
            train_tower(self.only(world, 0), QUICK)

    def test_two_users_are_enough(self, world: TrainingData) -> None:
        found = train_tower(self.only(world, 2), dataclasses.replace(QUICK, epochs=2))
        assert (found.metrics["training_users"], found.metrics["validation_users"]) == (2, 0)
        assert np.isfinite(encode(found.tower, world)).all()

    def test_a_user_who_cannot_be_halved_is_left_out(self, world: TrainingData) -> None:
        three = self.only(world, 3)
        last = three.users["user_id"][2]
        raw = pl.concat(
            [three.raw.filter(pl.col("user_id") != last), three.raw.filter(pl.col("user_id") == last).head(1)]
        )
        found = train_tower(dataclasses.replace(three, raw=raw), dataclasses.replace(QUICK, epochs=1))
        assert found.metrics["training_users"] == 2

    @pytest.mark.parametrize("playlists_count", [1, 2])
    def test_everybody_is_trained_on_when_few_playlists_count(self, world: TrainingData, playlists_count: int) -> None:
        data = dataclasses.replace(self.only(world, 30), playlists_count=playlists_count)
        assert train_tower(data, dataclasses.replace(QUICK, epochs=1)).metrics["training_users"] == 30


class TestNotFinite:
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    @pytest.mark.parametrize(("kind", "column"), [("genre", "genre_embedding"), ("artist", "artist_embedding")])
    def test_a_text_vector_is_refused_and_its_column_named(
        self, world: TrainingData, value: float, kind: str, column: str
    ) -> None:
        tastes = user_tastes(world.raw.lazy(), world.artist_genres)
        # A name that is both an artist and a genre would spoil both columns.
        genres, artists = (set(tastes.filter(pl.col("kind") == of)["name"]) for of in ("genre", "artist"))
        text = min(genres - artists if kind == "genre" else artists - genres)
        vectors = world.text_vectors.vectors.copy()
        vectors[world.text_vectors.texts["text"].to_list().index(text), 3] = value
        broken = dataclasses.replace(world, text_vectors=TextVectors(world.text_vectors.texts, vectors))
        with pytest.raises(TrainingError, match=f"'{column}' .* not finite"):
            train_tower(broken, QUICK)

    def test_a_learning_rate_that_blows_up_is_refused(self, world: TrainingData) -> None:
        with pytest.raises(TrainingError, match=r"^The loss of epoch \d is not finite; lower the learning rate"):
            train_tower(world, dataclasses.replace(QUICK, learning_rate=1e30, batch=16))


class TestInfoNce:
    FIRST = ((1.0, 0.0), (0.6, 0.8), (0.0, -1.0))
    SECOND = ((0.8, 0.6), (0.0, 1.0), (-0.6, -0.8))

    @pytest.mark.parametrize("temperature", [1.0, 0.5, 0.07])
    def test_by_hand(self, temperature: float) -> None:
        similarity = [[(a[0] * b[0] + a[1] * b[1]) / temperature for b in self.SECOND] for a in self.FIRST]
        rows = sum(math.log(sum(map(math.exp, row))) - row[i] for i, row in enumerate(similarity)) / 3
        columns = sum(
            math.log(sum(map(math.exp, column))) - column[i] for i, column in enumerate(zip(*similarity, strict=True))
        )
        loss = info_nce(torch.tensor(self.FIRST), torch.tensor(self.SECOND), torch.tensor(-math.log(temperature)))
        assert float(loss) == pytest.approx((rows + columns / 3) / 2, rel=1e-5)

    def test_two_orthogonal_pairs(self) -> None:
        # Each row is (1, 0): -log(e / (e + 1)).
        assert float(info_nce(torch.eye(2), torch.eye(2), torch.tensor(0.0))) == pytest.approx(
            math.log(1 + math.exp(-1))
        )

    def test_alike_vectors_are_as_good_as_chance(self) -> None:
        alike = torch.tensor([[0.6, 0.8]] * 7)
        assert float(info_nce(alike, alike, torch.tensor(3.0))) == pytest.approx(math.log(7), rel=1e-5)

    def test_a_single_user_has_nobody_to_be_told_from(self) -> None:
        assert float(info_nce(torch.eye(1), torch.eye(1), torch.tensor(2.0))) == 0

    def test_temperature_does_not_fall_below_a_hundredth(self) -> None:
        first, second = torch.eye(2), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        assert float(info_nce(first, second, torch.tensor(9.0))) == pytest.approx(100)


def compass(degrees: list[float]) -> TowerInputs:
    """Return users whose genre embedding points somewhere and who have nothing else."""
    radians = np.radians(degrees)
    genre = np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)
    count = len(degrees)
    nothing = np.zeros((count, 1), np.float32)
    known = np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1))
    return TowerInputs((genre, nothing, nothing, nothing), known, np.zeros((count, 4), np.float32))


def plain_tower() -> UserTower:
    """Return a tower that has learned nothing and whose anchor is the genre embedding as it is."""
    tower = UserTower((2, 1, 1, 1), hidden=2, part_out=2, dim=2, anchor_dim=2)
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.zero_()
        tower.anchor.copy_(torch.eye(2))
    return tower


class TestRetrieval:
    def test_ranks_by_hand(self) -> None:
        # From 0 degrees, 10 is nearest (rank 1). From 50, 60 and 35 are nearer than 20 (3). From 90, 60 is nearer than
        # 35 (2). From 270, 10 and 20 and 35 are nearer than 60 (4).
        found = retrieval(plain_tower(), compass([0, 50, 90, 270]), compass([10, 20, 35, 60]))
        assert found == pytest.approx({"mrr": (1 + 1 / 3 + 1 / 2 + 1 / 4) / 4, "hit_at_1": 0.25, "hit_at_10": 1.0})

    def test_hit_at_10_is_the_tenth_and_not_the_eleventh(self) -> None:
        gallery = [10.0 + number for number in range(11)]
        # From 0 degrees, the gallery is in order; so row i has rank i + 1.
        found = retrieval(plain_tower(), compass([0.0] * 11), compass(gallery))
        assert found["hit_at_10"] == pytest.approx(10 / 11)
        assert found["hit_at_1"] == pytest.approx(1 / 11)
        assert found["mrr"] == pytest.approx(sum(1 / rank for rank in range(1, 12)) / 11)

    def test_a_tower_that_tells_nobody_apart_is_no_better_than_chance(self) -> None:
        found = retrieval(plain_tower(), compass([30.0] * 21), compass([30.0] * 21))
        assert found == pytest.approx({"mrr": 1 / 11, "hit_at_1": 0, "hit_at_10": 0})

    def test_perfect(self) -> None:
        users = compass([0, 90, 180, 270])
        assert retrieval(plain_tower(), users, users) == {"mrr": 1.0, "hit_at_1": 1.0, "hit_at_10": 1.0}


class TestRandomPairCosine:
    def test_alike_opposite_and_orthogonal(self) -> None:
        rng = np.random.default_rng(0)
        assert random_pair_cosine(np.tile([[0.6, 0.8]], (5, 1)), rng) == pytest.approx(1)
        assert random_pair_cosine(np.array([[1.0, 0.0], [-1.0, 0.0]]), rng) == -1
        assert random_pair_cosine(np.eye(6), rng) == 0

    def test_users_are_not_paired_with_themselves(self) -> None:
        # Three at 120 degrees of each other: every pair of two has cosine -1/2.
        radians = np.radians([0, 120, 240])
        vectors = np.stack([np.cos(radians), np.sin(radians)], axis=1)
        assert random_pair_cosine(vectors, np.random.default_rng(0)) == pytest.approx(-0.5)


def test_the_parts_of_a_trained_tower_are_as_long_as_the_embeddings(trained: TrainedTower, world: TrainingData) -> None:
    dims = part_dims(world.embed(world.raw))
    assert tuple(trained.tower.config["part_dims"]) == dims == (TEXT_DIM, TEXT_DIM, TEXT_DIM, 12)
    assert len(dims) == len(EMBEDDINGS)
