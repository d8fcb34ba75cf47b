"""Wrong data does not pass: each check is shown the very fault it is there for, in a base that is otherwise right."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
import pytest

from spotify_dag.definitions import build_definitions
from spotify_dag.files import write_atomically
from spotify_dag.orchestration.checks.integrity import lost_at_reading
from spotify_dag.orchestration.checks.table_rules import table_problems
from spotify_dag.orchestration.freshness import CHECK
from spotify_dag.orchestration.stages import STAGES, waiting
from spotify_dag.project import Project
from spotify_dag.schemas import (
    ARTIST_GENRES,
    INGESTS,
    RAW_PLAYLISTS,
    TEXT_VECTORS,
    USER_EMBEDDINGS,
    USER_TASTES,
    USERS,
    Table,
)
from spotify_dag.stores import index_search
from spotify_dag.tracks.weekly_lists import monday_of

BUCKETS = [0, 1]


WEEKLY = dg.AssetSelection.checks_for_assets("weekly_playlist")
"""Partitioned by weeks, too: no run has both kinds of partitions."""


def outcomes(
    project: Project, instance: dg.DagsterInstance, selected: dg.AssetSelection | None = None, week: str = ""
) -> dict[str, bool]:
    """Run every check but `WEEKLY`, or those selected, making no asset, and return which passed."""
    selected = selected or dg.AssetSelection.all_asset_checks() - WEEKLY
    definitions = dg.Definitions.merge(
        build_definitions(settings=project.settings),
        dg.Definitions(jobs=[dg.define_asset_job("only_checks", selected)]),
    )
    result = definitions.resolve_job_def("only_checks").execute_in_process(
        instance=instance,
        tags={"dagster/asset_partition_range_start": f"00{week}", "dagster/asset_partition_range_end": f"01{week}"},
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    return {
        f"{found.asset_check_key.asset_key.to_user_string()}:{found.check_name}": found.passed
        for found in result.get_asset_check_evaluations()
    }


def passes(project: Project, instance: dg.DagsterInstance, check: str) -> bool:
    """Run one check, ``asset:name``, and return whether it passed."""
    asset, name = check.split(":")
    selected = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(asset), name))
    return outcomes(project, instance, selected)[check]


Change = Callable[[pl.DataFrame], pl.DataFrame]


def rewrite(project: Project, table: Table, change: Change) -> None:
    """Replace a table by what ``change`` makes of it."""
    project.lake.replace(table, BUCKETS, [change(project.lake.scan(table).collect())])


def first_row_again(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame, frame.head(1)])


def all_but_one(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.tail(-1)


def without_somebody(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("user_id") != frame["user_id"][0])


def somebody_else(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame, frame.head(1).with_columns(user_id=pl.lit("nobody"), name=pl.lit("Nobody's genre"))])


def in_the_other_bucket(frame: pl.DataFrame) -> pl.DataFrame:
    """Everybody in the bucket of the others: each table agrees with itself."""
    return frame.with_columns(user_bucket=1 - pl.col("user_bucket"))


def more_was_read(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("rows_rejected") + 1)


def not_a_number(name: str) -> Change:
    return lambda frame: frame.with_columns(
        pl.when(pl.int_range(pl.len()) == 0).then(float("nan")).otherwise(name).cast(pl.Float32).alias(name)
    )


def spoilt_vector(frame: pl.DataFrame) -> pl.DataFrame:
    vector = pl.col("genre_embedding")
    spoilt = vector.list.eval(pl.when(pl.int_range(pl.len()) == 7).then(float("inf")).otherwise(pl.element()))
    return frame.with_columns(
        pl.when(pl.int_range(pl.len()) == 0).then(spoilt).otherwise(vector).alias("genre_embedding")
    )


def test_all_pass_on_good_data(project: Project, instance: dg.DagsterInstance) -> None:
    found = outcomes(project, instance) | outcomes(project, instance, WEEKLY, f"|{monday_of()}")
    keys = build_definitions(settings=project.settings).resolve_asset_graph().asset_check_keys
    assert set(found) == {f"{key.asset_key.to_user_string()}:{key.name}" for key in keys}
    assert all(found.values()), found


CONFORM, WITH_USER = "rows_conform", "raw_playlists:every_row_has_its_user"
READ, ARTISTS = "raw_playlists:nothing_lost_at_reading", "artist_genres:every_item_has_its_artist"
LISTENERS, NAMES = "user_tastes:every_listener_has_tastes", "text_vectors:every_name_has_its_vector"
EMBEDDED, WHOLE = "user_embeddings:every_user_embedded_or_explained", "user_index:index_is_whole"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "change", "fails"),
    [
        pytest.param(RAW_PLAYLISTS, first_row_again, {f"raw_playlists:{CONFORM}", WITH_USER, ARTISTS}, id="item twice"),
        pytest.param(RAW_PLAYLISTS, all_but_one, {WITH_USER, READ}, id="item lost"),
        pytest.param(ARTIST_GENRES, first_row_again, {f"artist_genres:{CONFORM}"}, id="artist twice"),
        pytest.param(ARTIST_GENRES, all_but_one, {ARTISTS}, id="artist lost"),
        pytest.param(USER_TASTES, without_somebody, {LISTENERS}, id="tastes lost"),
        pytest.param(USER_TASTES, somebody_else, {LISTENERS, NAMES}, id="tastes of nobody"),
        pytest.param(USER_TASTES, not_a_number("weight"), {f"user_tastes:{CONFORM}"}, id="weight not finite"),
        pytest.param(USER_EMBEDDINGS, spoilt_vector, {f"user_embeddings:{CONFORM}"}, id="vector not finite"),
        pytest.param(USER_EMBEDDINGS, first_row_again, {f"user_embeddings:{CONFORM}"}, id="user twice"),
        pytest.param(USER_EMBEDDINGS, all_but_one, {EMBEDDED, WHOLE}, id="user lost"),
        pytest.param(USERS, all_but_one, {WITH_USER, READ, LISTENERS, EMBEDDED, WHOLE}, id="user unknown"),
        pytest.param(USERS, first_row_again, {f"raw_playlists:{CONFORM}"}, id="user twice in users"),
        pytest.param(USERS, in_the_other_bucket, {READ}, id="user in another bucket"),
        pytest.param(INGESTS, more_was_read, {READ}, id="rejects lost"),
    ],
)
def test_a_fault_is_found(
    project: Project, instance: dg.DagsterInstance, table: Table, change: Change, fails: set[str]
) -> None:
    rewrite(project, table, change)
    failed = {name for name, passed in outcomes(project, instance).items() if not passed}
    # The checks of freshness say what waits after such a fault; the sensor sees the same.
    late = {f"{STAGES[name].assets[-1]}:{CHECK}" for name, buckets in waiting(project).items() if buckets}
    assert failed == fails | late
    if (table, change) == (USER_EMBEDDINGS, all_but_one):
        assert late == {f"user_embeddings:{CHECK}", f"user_index:{CHECK}"}


def test_counts_of_a_bucket_read_in_parts_are_not_compared(project: Project) -> None:
    """Somebody was carried over from an earlier reading: how many there were then says nothing about now."""
    later = pl.col("fetched_at") + pl.duration(days=1)
    rewrite(project, INGESTS, more_was_read)
    assert lost_at_reading(project, BUCKETS)["rows_rejected_lost"] == 2
    somebody = pl.int_range(pl.len()).over("user_bucket") == 0
    rewrite(project, USERS, lambda users: users.with_columns(pl.when(somebody).then(later).otherwise("fetched_at")))
    assert not any(lost_at_reading(project, BUCKETS).values())


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"weight": pl.Float64}, "weight is Float64, not Float32"),
        ({"size_weight": None}, "size_weight is missing, not Float32"),
    ],
)
def test_a_table_with_other_columns_is_found(
    project: Project, instance: dg.DagsterInstance, columns: dict[str, Any], problem: str
) -> None:
    """A table as another version of this program, or another program, would have written it."""
    from deltalake import write_deltalake

    rows = project.lake.scan(USER_TASTES).collect()
    others = rows.select(
        (pl.col(name).cast(columns[name]) if name in columns else pl.col(name))
        for name in rows.columns
        if columns.get(name, True) is not None
    )
    uri = project.lake.uri(USER_TASTES)
    write_deltalake(uri, others.to_arrow(), mode="overwrite", schema_mode="overwrite", partition_by=["user_bucket"])
    assert table_problems(project.lake, USER_TASTES, BUCKETS) == {problem: 1}


def test_vectors_of_texts_are_kept_once(project: Project) -> None:
    kept = project.lake.scan(TEXT_VECTORS).collect()
    assert kept.height == kept.select("encoder", "text").n_unique() > 300
    broken = kept.head(1).with_columns(pl.col("vector").list.eval(pl.element() * float("nan")))
    project.lake.append(TEXT_VECTORS, broken)
    assert table_problems(project.lake, TEXT_VECTORS, BUCKETS) == {"vector is not finite": 1}


def test_a_user_missing_from_the_index_is_found(project: Project, instance: dg.DagsterInstance) -> None:
    index = project.user_index(project.registry.latest())
    rows = index.rows(with_vectors=True)
    index.replace([0], rows.filter(pl.col("user_bucket") == 0).tail(-1))
    assert not passes(project, instance, "user_index:index_is_whole")


def test_a_vector_that_is_not_of_unit_length_is_found(project: Project, instance: dg.DagsterInstance) -> None:
    index = project.user_index(project.registry.latest())
    rows = index.rows(with_vectors=True).filter(pl.col("user_bucket") == 0)
    twice = pl.Series("vector", rows["vector"].to_numpy() * 2, dtype=rows["vector"].dtype)
    index.replace([0], rows.with_columns(twice))
    assert not passes(project, instance, "user_index:index_is_whole")


@pytest.mark.slow
def test_a_search_that_finds_the_nearest_passes_and_one_that_does_not_is_found(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lancedb import connect
    from lancedb.index import IvfFlat, IvfPq

    monkeypatch.setattr(index_search, "REFINED", 1)  # of four candidates each, none of so few users is left out

    index, name = project.user_index(project.registry.latest()), "user_index:index_finds_the_nearest"
    table = connect(str(project.vectors)).open_table(index.name)
    assert index.approximation() is None
    assert passes(project, instance, name)
    table.create_index("vector", config=IvfFlat(distance_type="cosine", num_partitions=4))
    assert index.approximation()
    assert passes(project, instance, name)
    coarse = IvfPq(distance_type="cosine", num_partitions=1, num_sub_vectors=2, num_bits=4)
    table.create_index("vector", config=coarse, replace=True)
    assert index.recall(index.rows()["user_id"].to_list(), 10) < 0.8
    assert not passes(project, instance, name)
    assert not passes(project, instance, name)  # what failed is measured again
    assert index.recall([], 10) == 1


@pytest.mark.slow
def test_recall_is_measured_once_for_each_state_of_the_index(project: Project, instance: dg.DagsterInstance) -> None:
    from lancedb import connect
    from lancedb.index import IvfFlat

    def asked() -> Any:
        passes(project, instance, "user_index:index_finds_the_nearest")
        key = dg.AssetCheckKey(dg.AssetKey("user_index"), "index_finds_the_nearest")
        (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        return record.event.asset_check_evaluation.metadata["users_asked"].value

    index = project.user_index(project.registry.latest())
    table = connect(str(project.vectors)).open_table(index.name)
    table.create_index("vector", config=IvfFlat(distance_type="cosine", num_partitions=4))
    assert asked() == 40
    somebody = index.rows(with_vectors=True).head(1)
    index.merge(somebody, [])  # beside the index
    index.merge(somebody.clear(), index.rows()["user_id"][5:].to_list())
    assert asked() == 40  # as measured before: five users would be there to ask
    index.optimise()
    assert asked() == 5


def test_a_tower_with_a_weight_that_is_not_finite_is_found(project: Project, instance: dg.DagsterInstance) -> None:
    import torch

    tower = project.registry.load(project.registry.latest())
    card = project.registry.card(project.registry.latest())
    with torch.no_grad():
        next(tower.tower.parameters())[0, 0] = float("nan")
    project.registry.save(tower, card, metrics=card["metrics"], history=[])
    assert not passes(project, instance, "user_tower:tower_is_sound")


def test_a_collapsed_tower_is_found(project: Project, instance: dg.DagsterInstance) -> None:
    import json

    version = project.registry.latest()
    card = project.registry.card(version)
    card["metrics"]["random_pair_cosine"] = 0.97
    write_atomically(project.registry.root / version / "model.json", json.dumps(card).encode())
    assert not passes(project, instance, "user_tower:tower_is_sound")


def test_a_failed_check_keeps_wrong_rows_from_flowing_on(project: Project, instance: dg.DagsterInstance) -> None:
    """A blocking check on raw_playlists fails the run before anything is made of the rows."""
    definitions = build_definitions(settings=project.settings)
    rewrite(project, ARTIST_GENRES, first_row_again)
    before = project.lake.scan(USER_TASTES).collect()
    job = dg.define_asset_job(
        "tail", dg.AssetSelection.assets("user_tastes") | dg.AssetSelection.checks_for_assets("artist_genres")
    )
    merged = dg.Definitions.merge(definitions, dg.Definitions(jobs=[job]))
    result = merged.resolve_job_def("tail").execute_in_process(
        instance=instance,
        tags={"dagster/asset_partition_range_start": "00", "dagster/asset_partition_range_end": "01"},
        raise_on_error=False,
    )
    assert not result.success
    assert project.lake.scan(USER_TASTES).collect().equals(before)
