"""``spotify-dag models`` as a person types it: what is printed, what is refused, what answers afterwards."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from typer.testing import CliRunner, Result

from spotify_dag.cli.main import app
from spotify_dag.console import out
from spotify_dag.project import Project
from spotify_dag.schemas import USER_EMBEDDINGS, user_buckets
from spotify_dag.settings import Settings
from spotify_dag.staleness.stale_buckets import feature_version
from spotify_dag.tower.gate import decide
from spotify_dag_tests.small_models import small_model

pytestmark = pytest.mark.medium

GOOD = {"mrr": 0.5, "random_pair_cosine": 0.1}


@pytest.fixture
def project(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A data root with one user who is not indexed, and no tower."""
    monkeypatch.setattr(out, "width", 160)
    opened = Project.open(Settings(data=tmp_path / "data"))
    opened.registry.root.mkdir(parents=True)
    shutil.copy(empty_store, opened.registry.root / "mlflow.db")
    known: dict[str, Any] = {
        "user_bucket": user_buckets(["ann"], 64), "user_id": ["ann"], "source": ["export"], "content_hash": [1],
        "feature_version": [feature_version(opened)], "playlists": [1], "tracks": [1],
    }  # fmt: skip
    rows = (
        USER_EMBEDDINGS.empty()
        .clear(1)
        .select(pl.exclude(known))
        .with_columns(**{k: pl.Series(v) for k, v in known.items()})
    )
    opened.lake.replace(USER_EMBEDDINGS, known["user_bucket"], [USER_EMBEDDINGS.conform(rows)])
    return opened


def trained(project: Project, seed: int, **changes: Any) -> str:
    """Return a version that the registry holds."""
    card = {"feature_version": changes.pop("features", feature_version(project))}
    return project.registry.save(small_model(seed), card, metrics=GOOD | changes, history=[])


def indexed(project: Project, version: str) -> None:
    """Put every user into the index of a version."""
    keys = (
        project.lake.scan(USER_EMBEDDINGS).select("user_id", "user_bucket", "content_hash", "feature_version").collect()
    )
    vectors = pl.Series("vector", [[1.0, 0.0]] * keys.height, dtype=pl.Array(pl.Float32, 2))
    project.user_index(version).replace(
        keys["user_bucket"].to_list(), keys.with_columns(vectors, pl.lit(None, pl.Boolean).alias("opted_in"))
    )


def models(project: Project, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--data", str(project.settings.data), "models", *arguments])


def refused(project: Project, *arguments: str) -> str:
    """Assert that a command ends in one clear line; return it."""
    champion, published = project.registry.champion(), project.published()
    result = models(project, *arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert (project.registry.champion(), project.published()) == (champion, published)
    return result.stderr


def test_without_a_tower_it_says_how_to_get_one(tmp_path: Path) -> None:
    bare = Project.open(Settings(data=tmp_path / "data"))
    assert "No tower yet. Train one with: spotify-dag run" in models(bare, "list").stdout
    assert json.loads(models(bare, "list", "--json").stdout) == []
    assert "no champion to roll back from" in refused(bare, "rollback")
    assert not (tmp_path / "data").exists()


def test_list_shows_every_version_and_what_became_of_it(project: Project) -> None:
    first, second = trained(project, 1, mrr=0.25), trained(project, 2, mrr=float("nan"))
    indexed(project, first)
    project.registry.promote(first, decide(project.registry.card(first)["metrics"], None, {}))
    project.registry.record_measurement(first, {"mrr": 0.25})
    project.publish(first)
    project.registry.record_decision(second, decide(project.registry.card(second)["metrics"], GOOD, {}))
    lines = models(project, "list").stdout.splitlines()
    newer, older = (next(line for line in lines if version in line) for version in (second, first))
    assert lines.index(newer) < lines.index(older)
    assert "champion, answers" in older
    assert "0.250" in older
    assert "passed" in older
    assert "challenger" in newer
    assert "failed: mrr, coverage" in newer
    rows = json.loads(models(project, "list", "--json").stdout)
    assert [row["model_version"] for row in rows] == [second, first]
    assert [row["published"] for row in rows] == [False, True]
    assert [row["metrics"]["mrr"] for row in rows] == [None, 0.25]  # NaN is no JSON


def test_only_what_users_kept_from_training_say_is_shown_as_mrr(project: Project) -> None:
    version = trained(project, 1)
    assert "0.25" not in models(project, "list").stdout
    assert project.registry.measurement(version) == {}
    project.registry.record_measurement(version, {"mrr": 0.125, "hit@10": 0.5, "friend_auc": math.nan, "users": 48})
    assert project.registry.measurement(version) == {"mrr": 0.125, "hit_at_10": 0.5, "users": 48}
    assert "0.125" in models(project, "list").stdout
    sentence = "at MRR 0.125, in the top 10 for 50.0% (among 48 users kept from all training)."
    assert sentence in models(project, "show", version).stdout


def test_show_prints_the_card_and_the_decision(project: Project) -> None:
    version = trained(project, 1)
    shown = models(project, "show", version).stdout
    assert f"# {version}" in shown
    assert "| random pair cosine | 0.1 |" in shown
    assert "Gate: not asked." in shown
    project.registry.record_decision(version, decide(GOOD, None, {"svd": {"mrr": 0.6}}))
    assert "mrr vs svd is 0.5; it must be > 0.6" in models(project, "show", version).stdout
    card = json.loads(models(project, "show", version, "--json").stdout)
    assert card["model_version"] == version
    assert card["decision"]["passed"] is False
    assert "Unknown model version 'tower-x'" in refused(project, "show", "tower-x")


def test_promote_publishes_what_is_indexed_and_says_what_to_run_for_what_is_not(project: Project) -> None:
    first, second = trained(project, 1), trained(project, 2)
    said = models(project, "promote", first).stdout
    assert f"{first} is champion." in said
    assert "Its user index lacks 1 buckets; nothing answers until then. Index them with: spotify-dag run" in said
    indexed(project, first)
    assert "it answers from now on" in models(project, "promote", first).stdout
    assert project.published() == first
    answer = json.loads(models(project, "promote", second, "--json").stdout)
    assert answer == {"champion": second, "published": first, "buckets_left": 1}
    assert f"{first} answers until then" in models(project, "promote", second).stdout
    said = models(project, "rollback").stdout
    assert f"{first} is champion." in said
    assert "it answers from now on" in said
    assert "there is none to go back to" in refused(project, "rollback")


def test_a_champion_of_other_features_cannot_be_indexed_and_that_is_said(project: Project) -> None:
    version = trained(project, 1, features="those of last year")
    said = models(project, "promote", version).stdout
    assert "trained for other features than users have now; nothing answers until then" in said
    assert project.registry.champion() == version
    assert project.published() is None


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_promote_refuses_what_is_unsound_whatever_the_force(project: Project, force: tuple[str, ...]) -> None:
    collapsed = trained(project, 1, random_pair_cosine=0.97)
    assert "random_pair_cosine is 0.97; it must be <= 0.5" in refused(project, "promote", collapsed, *force)
    unknown = trained(project, 2, random_pair_cosine=float("nan"))
    assert "random_pair_cosine is not known" in refused(project, "promote", unknown, *force)
    model = small_model(3)
    with torch.no_grad():
        model.tower.absent[0, 0] = float("inf")
    broken = project.registry.save(model, {}, metrics=GOOD, history=[])
    assert "weights_finite is 0" in refused(project, "promote", broken, *force)
    weights = project.registry.root / trained(project, 4) / "tower.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "were changed since training" in refused(project, "promote", weights.parent.name, *force)


def test_promote_wants_force_where_the_gate_failed(project: Project) -> None:
    version = trained(project, 1)
    project.registry.record_decision(version, decide(GOOD, None, {"svd": {"mrr": 0.6}}))
    complaint = refused(project, "promote", version)
    assert "mrr vs svd is 0.5; it must be > 0.6" in complaint
    assert f"spotify-dag models promote {version} --force" in complaint
    assert models(project, "promote", version, "--force").exit_code == 0
    assert project.registry.champion() == version


def test_a_server_that_is_not_there_is_one_line(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTIFY_DAG_MLFLOW_URI", "http://127.0.0.1:9")
    result = models(project, "list")
    assert result.exit_code == 1
    assert "MLflow at http://127.0.0.1:9 cannot be used" in result.stderr
