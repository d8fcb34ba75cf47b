"""Drift is told when it is there, and only then: by what real runs noted, of a base that grows and one that changes."""

from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from spotify_dag.definitions import build_definitions
from spotify_dag.orchestration.checks.drift import HISTORY, Sketch, _moments, _sketch, shift
from spotify_dag.project import Project
from spotify_dag.schemas import ARTIST_GENRES, INGESTS, USER_EMBEDDINGS
from spotify_dag.settings import Settings

CHECKS = {"rejects_are_as_usual", "genre_coverage_is_as_usual", "embeddings_are_as_usual"}


class Base:
    """A base of a few hundred users without a tower, and the runs that check it."""

    def __init__(self, project: Project, instance: dg.DagsterInstance) -> None:
        self.project, self.instance = project, instance
        checks = dg.AssetSelection.all_asset_checks()
        drift = [dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(asset), name)) for asset, name in (
            ("raw_playlists", "rejects_are_as_usual"), ("artist_genres", "genre_coverage_is_as_usual"),
            ("user_embeddings", "embeddings_are_as_usual"))]  # fmt: skip
        made = dg.AssetSelection.assets(
            "raw_playlists", "artist_genres", "user_tastes", "text_vectors", "user_embeddings"
        )
        jobs = [
            dg.define_asset_job("make", made.without_checks() | drift[0] | drift[1] | drift[2]),
            dg.define_asset_job("check", checks & (drift[0] | drift[1] | drift[2])),
        ]
        definitions = build_definitions(settings=project.settings)
        self.definitions = dg.Definitions.merge(definitions, dg.Definitions(jobs=jobs))

    def run(self, job: str, last: str = "01") -> dict[str, dg.AssetCheckEvaluation]:
        result = self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            tags={"dagster/asset_partition_range_start": "00", "dagster/asset_partition_range_end": last},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        found = {it.check_name: it for it in result.get_asset_check_evaluations()}
        assert set(found) == CHECKS
        return found

    def grow(self, users: int) -> dict[str, dg.AssetCheckEvaluation]:
        self.project.inbox.register_source("synthetic", {"users": users, "playlists": 2, "tracks": 10})
        return self.run("make")


@pytest.fixture
def base(tmp_path: Path, instance: dg.DagsterInstance) -> Base:
    return Base(Project.open(Settings(data=tmp_path / "data", n_buckets=2)), instance)


def failed(found: dict[str, dg.AssetCheckEvaluation]) -> set[str]:
    return {name for name, evaluation in found.items() if not evaluation.passed}


@pytest.mark.slow
def test_a_growing_base_is_quiet_and_another_one_is_told(base: Base) -> None:
    for runs, users in enumerate((100, 130, 160, 200, 260)):
        found = base.grow(users)
        assert not failed(found), {name: it.description for name, it in found.items()}
        compared = {it.metadata["compared_with_runs"].value for it in found.values()}
        assert compared == {min(runs, HISTORY)}
    assert not failed(base.run("check", last="00"))  # half of the users are like all of them

    lake = base.project.lake
    rejected = lake.scan(INGESTS).collect().with_columns(rows_rejected=pl.col("rows_kept") // 4)
    lake.replace(INGESTS, [0, 1], [rejected])
    genres = lake.scan(ARTIST_GENRES).collect()
    unknown = pl.when(pl.int_range(pl.len()) % 2 == 0).then("genres")
    lake.replace(ARTIST_GENRES, [0, 1], [genres.with_columns(unknown.alias("genres"))])
    rows = lake.scan(USER_EMBEDDINGS).collect()
    everybody_alike = pl.lit(rows["playlist_embedding"][0].to_list(), dtype=pl.List(pl.Float32))
    lake.replace(USER_EMBEDDINGS, [0, 1], [rows.with_columns(playlist_embedding=everybody_alike)])
    found = base.run("check")
    assert failed(found) == CHECKS
    assert found["rejects_are_as_usual"].description.startswith("rejected: the mean moved by 0.2")
    assert found["genre_coverage_is_as_usual"].description.startswith("covered: the mean moved by")
    assert found["embeddings_are_as_usual"].description.startswith("playlist_embedding: the mean moved by")
    assert "genre_embedding" not in found["embeddings_are_as_usual"].description
    assert {it.severity for it in found.values()} == {dg.AssetCheckSeverity.WARN}


@pytest.mark.slow
def test_with_too_little_to_compare_nothing_is_said(base: Base) -> None:
    for _ in range(HISTORY - 1):
        base.grow(100)
    rows = base.project.lake.scan(USER_EMBEDDINGS).collect()
    upside_down = pl.col("genre_embedding").list.eval(-pl.element())
    base.project.lake.replace(USER_EMBEDDINGS, [0, 1], [rows.with_columns(upside_down)])
    assert not failed(base.run("check"))
    assert failed(base.run("check")) == {"embeddings_are_as_usual"}


def sketch(mean: float, users: int, spread: float = 1.0) -> Sketch:
    return Sketch(users, (mean,), spread)


@pytest.mark.parametrize(
    ("now", "before", "moved"),
    [
        (sketch(0.3, 100_000), sketch(0, 100_000), True),
        (sketch(0.2, 100_000), sketch(0, 100_000), False),  # not enough to matter
        (sketch(0.8, 8), sketch(0, 1_000), False),  # eight users may be so by chance
        (sketch(0.8, 800), sketch(0, 1_000), True),
        (sketch(0, 1_000, 2.5), sketch(0, 1_000), True),
        (sketch(0, 1_000, 0.4), sketch(0, 1_000), True),
        (sketch(0, 1_000, 1.5), sketch(0, 1_000), False),
        (sketch(0, 20, 0.4), sketch(0, 1_000), False),
        (Sketch(0, (), 0.0), sketch(0, 1_000), False),
    ],
)
def test_what_counts_as_a_shift(now: Sketch, before: Sketch, moved: bool) -> None:
    assert (shift(now, [before] * HISTORY) is not None) == moved


@pytest.mark.medium
def test_samples_of_one_world_seldom_differ() -> None:
    """Of 2,000 comparisons of samples of any size, none is taken for drift."""
    rng = np.random.default_rng(0)
    for _ in range(2_000):
        sizes = rng.integers(1, 300, HISTORY + 1)
        drawn = [rng.exponential(size=(size, 3)) for size in sizes]
        found = [Sketch(len(x), tuple(x.mean(0)), float(np.sqrt(((x - x.mean(0)) ** 2).sum(1).mean()))) for x in drawn]
        assert shift(found[0], found[1:]) is None


def test_a_sketch_keeps_distances() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(500, 384)), rng.normal(size=(500, 384)) + 0.2
    series = [pl.Series(vectors.astype(np.float32).tolist(), dtype=pl.List(pl.Float32)) for vectors in (one, other)]
    sketches = [_sketch([_moments(vectors)]) for vectors in series]
    true = np.linalg.norm(one.mean(0) - other.mean(0))
    assert np.linalg.norm(np.subtract(sketches[0].mean, sketches[1].mean)) == pytest.approx(true, rel=0.5)
    assert sketches[0].spread == pytest.approx(np.sqrt(384), rel=0.2)
    parted = _sketch([_moments(series[0].slice(*part)) for part in ((0, 120), (120, 0), (120, 380))])
    assert parted.users == 500
    assert parted.mean == pytest.approx(sketches[0].mean, rel=1e-3)
    assert parted.spread == pytest.approx(sketches[0].spread, rel=1e-6)
    assert _sketch([_moments(pl.Series([[float("nan")] * 4, [1.0] * 4], dtype=pl.List(pl.Float32)))]).users == 1
    assert _sketch([]) == Sketch(0, (0.0,) * len(parted.mean), 0.0)
