"""A user is forgotten: not one byte is left, nobody else is touched, and nothing brings them back but themselves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from samples.export_files import HEADING_A, row_a, table
from spotify_dag.cli.main import app
from spotify_dag.definitions import build_definitions
from spotify_dag.lifecycle.find_mentions import find_mentions
from spotify_dag.lifecycle.forget import NobodyToForgetError, forget
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.orchestration.instance import open_instance
from spotify_dag.project import Project
from spotify_dag.schemas import TABLES, USERS, user_buckets
from spotify_dag.settings import Settings
from spotify_dag.staleness.stale_buckets import read_once

pytestmark = pytest.mark.slow

USER = "synthetic-000007"


@pytest.fixture(autouse=True)
def _two_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTIFY_DAG_N_BUCKETS", "2")
    monkeypatch.setenv("COLUMNS", "160")


def spotify_dag(project: Project, *arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["--data", str(project.settings.data), *map(str, arguments)])
    return done.exit_code, done.output


def bring_up(project: Project) -> dict[str, int]:
    project.inbox.requests.sweep()
    with open_instance(project) as instance:
        definitions = build_definitions(settings=project.settings)
        return {stage.stage: stage.buckets for stage in bring_up_to_date(project, definitions, instance)}


def rows_of_others(project: Project) -> dict[str, list[str]]:
    """Return every row of every table that is not the user's."""
    per_user = [one for one in TABLES if "user_id" in one.column_names]
    return {
        one.name: sorted(map(repr, project.lake.scan(one).filter(pl.col("user_id") != USER).collect().iter_rows()))
        for one in per_user
    }


def mentions(project: Project, user: str = USER) -> dict[str, int]:
    found = find_mentions(project, user)
    assert found.unreadable == []
    assert found.files > 20
    return found.counts


def test_nothing_is_left_and_nobody_else_is_touched(project: Project) -> None:
    before = mentions(project)
    assert {name.split("/")[0] for name in before} >= {"lake", "vectors"}
    others = rows_of_others(project)
    index = project.user_index(project.published() or "")
    neighbours = index.rows(with_vectors=True).filter(pl.col("user_id") != USER)

    status, printed = spotify_dag(project, "forget", USER)
    assert status == 0, printed
    assert f"{USER} is forgotten." in printed
    assert mentions(project) == {}
    assert spotify_dag(project, "forget", USER, "--verify")[0] == 0
    assert rows_of_others(project) == others
    assert index.rows(with_vectors=True).equals(neighbours)
    status, printed = spotify_dag(project, "recommend", USER)
    assert (status, printed.startswith(f"Error: Unknown user '{USER}'")) == (1, True)
    assert project.matcher.recommend(["synthetic-000001"], 38)[1][0][-1].user_id != USER


def test_verify_finds_what_is_there_and_says_where(project: Project) -> None:
    status, printed = spotify_dag(project, "forget", USER, "--verify", "--json")
    found = json.loads(printed)
    assert status == 1
    assert found["mentions"] == sum(found["found"].values()) > 20
    tables = {name.split("/")[1] for name in found["found"] if name.startswith("lake/")}
    assert tables >= {"raw_playlists", "users", "user_tastes", "user_embeddings"}
    assert any(name.startswith("vectors/user_index_") for name in found["found"])


def test_no_run_brings_them_back_and_no_rerun_is_needed(project: Project) -> None:
    bring_up(project)
    forget(project, USER)
    assert list(bring_up(project)) == ["tracks"]  # what their playlists taught is learned anew
    project.inbox.register_source("synthetic", {"users": 41, "playlists": 2, "tracks": 10})
    assert bring_up(project)["ingest"] == 2
    assert project.lake.scan(USERS).select(pl.len()).collect().item() == 40
    assert mentions(project) == {}
    shutil.rmtree(project.settings.data / "lake")
    bring_up(project)
    assert mentions(project) == {}


def test_again_changes_nothing_and_a_stranger_is_an_error(project: Project) -> None:
    assert forget(project, USER).total > 0
    assert forget(project, USER).deleted == {}
    with pytest.raises(NobodyToForgetError, match="Unknown user 'nobody': there is nothing to forget"):
        forget(project, "nobody")
    assert "nobody" not in project.tombstones


def test_what_was_handed_in_goes_and_only_add_brings_it_back(project: Project, tmp_path: Path) -> None:
    (tmp_path / "Mix.csv").write_bytes(table(HEADING_A, [row_a(n) for n in range(5)]))
    for name in ("anna", "anna-2"):
        assert spotify_dag(project, "add", tmp_path / "Mix.csv", "--as", name)[0] == 0
    requests = project.inbox.requests
    kept = requests.root / "copy.json"
    (request,) = (file for file in (requests.root / "new").iterdir() if b'export-anna"' in file.read_bytes())
    shutil.copy(request, kept)
    bring_up(project)
    (requests.root / "new" / "damaged.json").write_text('{"user_id": "export-anna"')
    requests.sweep()
    assert [file.name for file in (requests.root / "rejected").iterdir()]

    kept.rename(tmp_path / "kept.json")
    done = forget(project, "export-anna")
    assert done.deleted["inbox"] == 4  # the entry, the listening, the damaged request and its reason
    assert mentions(project, "export-anna") == {}
    assert [request.user_id for request in requests.all()] == ["export-anna-2"]
    assert mentions(project, "export-anna-2")

    (tmp_path / "kept.json").rename(requests.root / "new" / "by-hand.json")
    (rejected,) = requests.sweep().rejected
    assert "was forgotten" in rejected
    assert mentions(project, "export-anna") == {}

    status, printed = spotify_dag(project, "add", tmp_path / "Mix.csv", "--as", "anna")
    assert (status, "export-anna was forgotten before. They are handed in again" in printed) == (0, True)
    bring_up(project)
    assert project.lake.scan(USERS).filter(user_id="export-anna").collect().height == 1


def test_what_dagster_recorded_is_overwritten(project: Project) -> None:
    import dagster as dg

    with open_instance(project) as instance:
        instance.report_runless_asset_event(
            dg.AssetMaterialization("user_tastes", metadata={"preview": f"| {USER} | {USER}0 |", "who": USER})
        )
    log = project.settings.data / "dagster" / "printed.log"
    log.write_text(f"reading {USER}\nreading {USER}0\n")
    assert {name.split("/")[0] for name in mentions(project)} >= {"dagster"}
    assert forget(project, USER).deleted["dagster"] >= 2
    assert mentions(project) == {}
    assert log.read_text() == f"reading [forgotten]\nreading {USER}0\n"
    with open_instance(project) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("user_tastes"))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["who"].value == "[forgotten]"


def test_a_lake_whose_log_has_the_statistics_is_cleared_too(project: Project) -> None:
    """Delta's own habit: the first and the last id of every file stand in the log of the table."""
    import pyarrow as pa
    from deltalake import write_deltalake

    table_ = project.lake.root / USERS.name
    rows = project.lake.scan(USERS).collect()
    shutil.rmtree(table_)
    schema = pa.schema([field.with_nullable(True) for field in rows.to_arrow().schema])
    for part in (rows, rows):
        write_deltalake(str(table_), pa.table(part.to_arrow(), schema=schema), mode="overwrite",
                        partition_by=["user_bucket"])  # fmt: skip
    first = str(rows["user_id"].min())
    assert any("_delta_log" in name for name in mentions(project, first))
    forget(project, first)
    assert mentions(project, first) == {}
    assert project.lake.scan(USERS).select(pl.len()).collect().item() == 39


def test_old_index_versions_are_cleared_too(project: Project) -> None:
    old = project.user_index("tower-000000000000")
    new = project.user_index(project.published() or "")
    old.replace([0, 1], new.rows(with_vectors=True))
    forget(project, USER)
    assert (old.rows().height, new.rows().height) == (39, 39)
    assert mentions(project) == {}


def test_what_runs_leave_each_other_of_sources_is_cleared_too(project: Project) -> None:
    (own,) = user_buckets([USER], 2)
    project.inbox.register_source("synthetic", {"users": 60, "playlists": 1, "tracks": 2})
    (source,) = project.inbox.sources()
    for _ in read_once(project, [1 - own], {own}).batches(source):
        pass
    assert any("/.read-once/" in name for name in mentions(project))
    forget(project, USER)
    assert mentions(project) == {}


def test_a_new_project_has_nobody_to_forget(tmp_path: Path) -> None:
    status, printed = spotify_dag(Project.open(Settings(data=tmp_path / "data", n_buckets=2)), "forget", "a")
    assert (status, printed.count("\n")) == (1, 1)
