"""Checks that warn when what comes in is unlike what came in before.

Each run notes, in the metadata of its check, the mean and the spread over users of some quantities, and compares them
with what the last `HISTORY` runs noted. Buckets are made by a hash, so the users of any run are a sample of all, and
samples differ by chance: the fewer their users, the more. A shift counts once it is too large for chance *and* large
enough to matter. With fewer runs than that to compare with, nothing is said.

What persists is the new normal after `HISTORY` runs. A check that warns blocks nothing: whether new listeners are
different, or a source broke, only a person can tell.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np

from spotify_dag.orchestration.automation import WARNING_LAST
from spotify_dag.orchestration.dagster_internals.records import check_history
from spotify_dag.orchestration.partitions import tagged_buckets
from spotify_dag.project import Project
from spotify_dag.schemas import (
    ARTIST_GENRES,
    EMBEDDINGS,
    INGESTS,
    RAW_PLAYLISTS,
    REJECTS,
    USER_EMBEDDINGS,
    USERS,
)
from spotify_dag.staleness.stale_buckets import feature_version
from spotify_dag.stores.bucket_state import of_files

if TYPE_CHECKING:
    import polars as pl

HISTORY = 4
SIGMAS = 5.0
"""Standard errors that chance is allowed."""
MEAN_SHIFT = 0.25
"""Spreads by which a mean may always move."""
SHARE_SHIFT = 0.05
"""By how much a share may always move: five percentage points."""
SPREAD_FACTOR = 2.0
SPREAD_USERS = 30
"""With fewer users, a spread is no more than a guess."""
SKETCH_DIM = 16


@dataclass(frozen=True)
class Sketch:
    """One quantity over the users of a run."""

    users: int
    mean: tuple[float, ...]
    """The mean; of a vector, `SKETCH_DIM` random projections of it, which keep distances (Johnson-Lindenstrauss)."""
    spread: float
    """Root of the mean squared distance of a user from the mean."""


def shift(now: Sketch, before: Sequence[Sketch], least: float = 0.0) -> str | None:
    """Return how a quantity moved more than chance and tolerance allow, in words; None where it did not.

    Parameters
    ----------
    now, before
        The quantity in this run, and in those before it.
    least
        Distance by which the mean may always move, besides `MEAN_SHIFT` spreads.
    """
    before = [sketch for sketch in before if sketch.users]
    if not now.users or not before:
        return None
    users = sum(sketch.users for sketch in before)
    # The runs before as one sample: weighted by users, and spread as far as each of them and their means.
    mean = [math.fsum(part) / users for part in zip(*(_weighted(sketch) for sketch in before), strict=True)]
    variance = sum(sketch.users * (sketch.spread**2 + math.dist(sketch.mean, mean) ** 2) for sketch in before) / users
    distance = math.dist(now.mean, mean)
    by_chance = SIGMAS**2 * (max(now.spread**2, variance) / now.users + variance / users)
    allowed = math.sqrt(by_chance + MEAN_SHIFT**2 * variance + least**2)
    if distance > allowed:
        return f"the mean moved by {distance:.3g}, more than {allowed:.3g}"
    spread = math.sqrt(variance)
    if least or min(now.users, users) < SPREAD_USERS or spread / SPREAD_FACTOR <= now.spread <= spread * SPREAD_FACTOR:
        return None
    return f"the spread went from {spread:.3g} to {now.spread:.3g}"


def rejected_share(project: Project, buckets: list[int]) -> dict[str, Sketch]:
    """Return the share of rows that were rejected."""
    import polars as pl

    lake = project.lake
    rejected = lake.scan(REJECTS, buckets).filter("dropped").group_by("user_id").agg(pl.len().alias("rejected"))
    shares = (
        lake.scan(USERS, buckets)
        .join(rejected, on="user_id", how="left")
        .select(pl.col("rejected").fill_null(0), "rows_kept")
        .filter(pl.sum_horizontal(pl.all()) > 0)
        .select(pl.col("rejected") / pl.sum_horizontal(pl.all()))
        .collect()
        .to_series()
        .to_numpy()
    )
    # Of all rows, also of those that name no user: the spread is that of users, who decide what chance may do.
    rows = lake.scan(INGESTS, buckets).select(pl.col("rows_rejected", "rows_kept").sum()).collect().row(0)
    return {
        "rejected": Sketch(len(shares), (rows[0] / max(1, sum(rows)),), float(shares.std()) if len(shares) else 0.0)
    }


def genre_coverage(project: Project, buckets: list[int]) -> dict[str, Sketch]:
    """Return the share of playlist items whose artist has genres."""
    import polars as pl

    has_genres = pl.col("genres").list.len() > 0
    covered, rows = (
        project.lake.scan(ARTIST_GENRES, buckets)
        .select(pl.col("rows").filter(has_genres).sum(), pl.col("rows").sum().alias("all"))
        .collect()
        .row(0)
    )
    listeners = project.lake.scan(USERS, buckets).filter(pl.col("rows_kept") > 0).select(pl.len()).collect().item()
    share = covered / max(1, rows)
    # Users differ at most as if each had all of their genres or none.
    return {"covered": Sketch(listeners, (share,), math.sqrt(share * (1 - share)))}


def embedding_sketches(project: Project, buckets: list[int]) -> dict[str, Sketch]:
    """Return the four embeddings, of the users who have them."""
    import polars as pl

    columns = {name: pl.col(name) for name in EMBEDDINGS}
    parts = of_files(
        project.lake, USER_EMBEDDINGS, "sketches", columns,
        lambda rows: [_moments(rows[name].drop_nulls()) for name in EMBEDDINGS], buckets,
    )  # fmt: skip
    return {name: _sketch([part[place] for part in parts]) for place, name in enumerate(EMBEDDINGS)}


@dataclass(frozen=True)
class Drift:
    """A check of drift: what is measured, on which asset."""

    asset: str
    name: str
    description: str
    measure: Callable[[Project, list[int]], dict[str, Sketch]]
    least: float = 0.0
    """Distance by which the mean may always move."""
    basis: Callable[[Project], str] = lambda _: ""
    """Runs are compared with runs on the same basis only."""


DRIFTS = (
    Drift(
        RAW_PLAYLISTS.name,
        "rejects_are_as_usual",
        f"The share of rejected rows is within {SHARE_SHIFT:.0%} of what it was",
        rejected_share,
        SHARE_SHIFT,
    ),
    Drift(
        ARTIST_GENRES.name,
        "genre_coverage_is_as_usual",
        f"The share of items with genres is within {SHARE_SHIFT:.0%} of what it was",
        genre_coverage,
        SHARE_SHIFT,
    ),
    Drift(
        USER_EMBEDDINGS.name,
        "embeddings_are_as_usual",
        f"Mean embeddings are within {MEAN_SHIFT} spreads of what they were, spreads within a factor of "
        f"{SPREAD_FACTOR:g}",
        embedding_sketches,
        basis=feature_version,  # other features are no drift: a new beginning
    ),
)


def drift_check(drift: Drift) -> Any:
    """Return a check of drift."""

    # Of no partition, unlike the others: Dagster then keeps one record per run, whatever buckets it was about.
    @dg.asset_check(
        asset=drift.asset,
        name=drift.name,
        op_tags=WARNING_LAST,
        description=f"{drift.description} (against the last {HISTORY} runs; a warning, blocks nothing).",
    )
    def check(context: dg.AssetCheckExecutionContext, project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
        buckets = tagged_buckets(context.run.tags) or list(range(project.lake.n_buckets))
        return compare_with_history(context, project, drift, drift.measure(project, buckets))

    return check


def compare_with_history(
    context: dg.AssetCheckExecutionContext, project: Project, drift: Drift, sketches: dict[str, Sketch]
) -> dg.AssetCheckResult:
    """Compare the sketches of this run with those that earlier runs noted, and note these."""
    key = dg.AssetCheckKey(dg.AssetKey(drift.asset), drift.name)
    history = check_history(context.instance, key, limit=2 * HISTORY)
    basis = drift.basis(project)
    before = _noted(history, context.run.run_id, basis)[:HISTORY]
    moved = {}
    for quantity, now in sketches.items() if len(before) == HISTORY else ():
        if what := shift(now, [noted[quantity] for noted in before if quantity in noted], drift.least):
            moved[quantity] = what
    return dg.AssetCheckResult(
        passed=not moved,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{quantity}: {what}" for quantity, what in moved.items()) or None,
        metadata={
            "compared_with_runs": len(before),
            "basis": basis,
            "sketches": {quantity: asdict(sketch) for quantity, sketch in sketches.items()},
        },
    )


def _moments(vectors: "pl.Series") -> tuple[int, list[float], float]:
    """Return the number of vectors, the sum of their projections and the sum of the squared lengths of these."""
    if vectors.is_empty():
        return 0, [0.0] * SKETCH_DIM, 0.0
    dim = len(vectors[0])
    numbers = vectors.explode().to_numpy().reshape(-1, dim)
    projection = np.random.default_rng(dim).normal(size=(dim, SKETCH_DIM)) / math.sqrt(SKETCH_DIM)
    projected = numbers[np.isfinite(numbers).all(axis=1)] @ projection  # what is not finite fails another check
    return len(projected), projected.sum(axis=0).tolist(), float((projected**2).sum())


def _sketch(parts: "Sequence[tuple[int, list[float], float]]") -> Sketch:
    """Return the sketch of vectors whose `_moments` come in parts."""
    users = sum(part[0] for part in parts)
    mean = [math.fsum(sums) / max(users, 1) for sums in zip(*(part[1] for part in parts), strict=True)]
    variance = math.fsum(part[2] for part in parts) / max(users, 1) - math.fsum(number**2 for number in mean)
    shown = tuple(float(f"{number:.5g}") for number in mean) or (0.0,) * SKETCH_DIM
    return Sketch(users, shown, math.sqrt(max(variance, 0.0)))


def _weighted(sketch: Sketch) -> list[float]:
    return [sketch.users * number for number in sketch.mean]


def _noted(history: Sequence[tuple[str, dg.AssetCheckEvaluation]], run_id: str, basis: str) -> list[dict[str, Sketch]]:
    """Return what runs before this one noted on the same basis, the last one first."""
    noted = []
    for noted_by, evaluation in history:
        if noted_by != run_id and evaluation.metadata["basis"].value == basis:
            sketches: Mapping[str, Any] = evaluation.metadata["sketches"].value  # type: ignore[assignment]
            noted.append({name: Sketch(it["users"], tuple(it["mean"]), it["spread"]) for name, it in sketches.items()})
    return noted
