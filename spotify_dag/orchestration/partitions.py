"""The partitions of the graph: a fixed set of user buckets, never one per user; and weeks, for the model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

WEEKS = dg.WeeklyPartitionsDefinition(start_date="2025-01-05", end_offset=1)
"""Sunday to Sunday, UTC, the present week included: a training belongs to the week it was started in."""


MONDAYS = dg.WeeklyPartitionsDefinition(start_date="2025-01-06", day_offset=1, end_offset=1)
"""Monday to Monday, UTC, the present week included."""


def user_bucket_partitions(n_buckets: int) -> dg.StaticPartitionsDefinition:
    """Return the partitions ``00 … n-1``; keys have equal length, so that they sort as numbers do."""
    width = max(2, len(str(n_buckets - 1)))
    return dg.StaticPartitionsDefinition([f"{bucket:0{width}d}" for bucket in range(n_buckets)])


def bucket_backfills(buckets_per_run: int | None) -> dg.BackfillPolicy:
    """Return how automation and backfills divide buckets into runs: None for one run of all."""
    return dg.BackfillPolicy.multi_run(buckets_per_run) if buckets_per_run else dg.BackfillPolicy.single_run()


def current_week(now: datetime | None = None) -> str:
    """Return the partition of the present week, or of another time's: the date of its Sunday."""
    now = now or datetime.now(UTC)
    return f"{now - timedelta(days=(now.weekday() + 1) % 7):%Y-%m-%d}"


def weekly_bucket_partitions(buckets: dg.StaticPartitionsDefinition) -> dg.MultiPartitionsDefinition:
    """Return the partitions of what is made anew each Monday: ``00|2026-01-05``, a bucket and a week."""
    return dg.MultiPartitionsDefinition({"bucket": buckets, "week": MONDAYS})


def bucket_of(key: str) -> int:
    """Return the bucket of a partition of `user_bucket_partitions` or `weekly_bucket_partitions`."""
    return int(key.partition("|")[0])


def run_buckets(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> list[int]:
    """Return the buckets of the current run."""
    return sorted({bucket_of(key) for key in context.partition_keys})


def run_week(context: dg.AssetExecutionContext) -> str:
    """Return the week of the current run, of `weekly_bucket_partitions`: the latest of several."""
    return max(key.partition("|")[2] for key in context.partition_keys)


def tagged_buckets(tags: Mapping[str, str]) -> list[int]:
    """Return the buckets that a run is about, by its tags; none where it has no partitions, or others."""
    first, last = (
        tags.get(f"dagster/asset_partition_range_{end}", tags.get("dagster/partition", "")).partition("|")[0]
        for end in ("start", "end")
    )
    return list(range(int(first), int(last) + 1)) if first.isdigit() and last.isdigit() else []


def ranges(
    buckets: Iterable[int], *, through: Collection[int] = (), at_most: int | None = None
) -> list[tuple[int, int]]:
    """Return buckets as ranges (first, last): Dagster runs a range of partitions in one run.

    A range has no gaps but those that are all ``through``: buckets in which there is nothing to do, and no run to save.
    It has ``at_most`` so many of ``buckets``; None for no limit.
    """
    runs: list[tuple[int, int]] = []
    taken = 0
    for bucket in sorted(set(buckets)):
        joined = bool(runs) and taken != at_most
        if joined and all(between in through for between in range(runs[-1][1] + 1, bucket)):
            runs[-1] = (runs[-1][0], bucket)
            taken += 1
        else:
            runs.append((bucket, bucket))
            taken = 1
    return runs


def spelled(buckets: Sequence[int]) -> str:
    """Return buckets as people write them: ``0-8, 17``."""
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges(buckets))
