"""Changing one's mind: with the next run others are told, or told no more, and nothing is embedded again."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from samples.export_files import HEADING_A, row_a, table
from spotify_dag.cli.main import app
from spotify_dag.definitions import build_definitions
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.orchestration.instance import open_instance
from spotify_dag.project import Project
from spotify_dag.schemas import USER_EMBEDDINGS, USERS
from spotify_dag.sources.synthetic import CATALOGUE
from spotify_dag.stores.lake import LakeError

pytestmark = pytest.mark.slow


def bring_up(project: Project) -> list[str]:
    project.inbox.requests.sweep()
    with open_instance(project) as instance:
        definitions = build_definitions(settings=project.settings)
        return [stage.stage for stage in bring_up_to_date(project, definitions, instance)]


def shown_to(project: Project, user: str) -> set[str]:
    return {match.user_id for match in project.matcher.recommend([user], 100)[1][0]}


def test_a_flag_that_changes_takes_effect_without_embedding_again(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPOTIFY_DAG_N_BUCKETS", "2")
    with CATALOGUE.open() as catalogue:
        artists = [row["name"] for row in csv.DictReader(catalogue)][:20]
    (tmp_path / "Mix.csv").write_bytes(table(HEADING_A, [row_a(n, [name]) for n, name in enumerate(artists)]))
    add = ["--data", str(project.settings.data), "add", str(tmp_path / "Mix.csv"), "--as", "anna"]
    assert CliRunner().invoke(app, add).exit_code == 0
    assert bring_up(project) == ["ingest", "features", "index"]
    assert len(shown_to(project, "export-anna")) == 40
    assert "export-anna" in shown_to(project, "synthetic-000001")
    before = project.lake.snapshot()[USER_EMBEDDINGS.name]

    assert CliRunner().invoke(app, [*add, "--private"]).exit_code == 0
    assert bring_up(project) == ["ingest", "index"]
    assert project.lake.snapshot()[USER_EMBEDDINGS.name] == before
    assert len(shown_to(project, "export-anna")) == 40  # asking is for everybody
    assert len(shown_to(project, "synthetic-000001")) == 39
    compared = CliRunner().invoke(app, [*add[:2], "compare", "synthetic-000001", "export-anna"])
    assert (compared.exit_code, compared.output.count("\n")) == (1, 1)
    assert CliRunner().invoke(app, [*add[:2], "compare", "export-anna", "synthetic-000001"]).exit_code == 0
    assert bring_up(project) == []

    assert CliRunner().invoke(app, add).exit_code == 0
    assert bring_up(project) == ["ingest", "index"]
    assert "export-anna" in shown_to(project, "synthetic-000001")


def test_a_lake_from_before_the_flag_says_what_to_do(project: Project) -> None:
    rewrite_users(project, "opted_in")
    with pytest.raises(LakeError, match=r"'users' in .* was made by an older version, without opted_in\. .*delete"):
        shown_to(project, "synthetic-000001")
    recommended = CliRunner().invoke(app, ["--data", str(project.settings.data), "recommend", "synthetic-000001"])
    assert (recommended.exit_code, recommended.output[:20]) == (1, "Error: Table 'users'")
    shutil.rmtree(project.lake.root)
    bring_up(project)
    assert len(shown_to(project, "synthetic-000001")) == 39


def test_a_lake_from_before_a_column_that_may_be_null_goes_on(project: Project) -> None:
    rows = project.lake.scan(USERS).sort("user_id").collect()
    rewrite_users(project, "gone_since")
    assert project.lake.scan(USERS).sort("user_id").collect().equals(rows)
    assert project.lake.connect().sql("select count(*) from users where gone_since is null").fetchall() == [(40,)]
    bucket = rows.filter(pl.col("user_bucket") == 1)
    project.lake.replace(USERS, [1], [bucket])
    assert project.lake.scan(USERS).sort("user_id").collect().equals(rows)
    assert project.lake.connect().sql("select count(*) from users where gone_since is null").fetchall() == [(40,)]


def rewrite_users(project: Project, without: str) -> None:
    """Put the users table back as an older version made it."""
    from deltalake import write_deltalake

    rows = project.lake.scan(USERS).collect().drop(without)
    shutil.rmtree(project.lake.root / USERS.name)
    write_deltalake(str(project.lake.root / USERS.name), rows.to_arrow(), partition_by=["user_bucket"])
