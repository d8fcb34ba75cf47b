"""From training to answering: the next run does what was left undone, and a version that must not serve does not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from typer.testing import CliRunner

from spotify_dag.cli.main import app
from spotify_dag.cli.run_summary import summary
from spotify_dag.definitions import build_definitions
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.orchestration.partitions import current_week
from spotify_dag.project import Project
from spotify_dag.schemas import RAW_PLAYLISTS, USER_EMBEDDINGS, USERS, user_buckets
from spotify_dag.settings import Settings
from spotify_dag.tower.gate import decide
from spotify_dag.training_data.listening import training_users
from spotify_dag.training_data.policy import nothing_to_train_on, trainable_users
from spotify_dag_tests.staleness.test_changed_users import hand_in

pytestmark = pytest.mark.slow

SOUND = {"weights_finite": 1.0, "random_pair_cosine": 0.1}


def stages(project: Project, instance: dg.DagsterInstance, *, train: bool = False) -> dict[str, str]:
    """Bring a project up to date; return the stages that ran, with why."""
    definitions = build_definitions(settings=project.settings)
    return {stage.stage: stage.reason for stage in bring_up_to_date(project, definitions, instance, train=train)}


def another_tower(project: Project, metrics: dict[str, float], **card: Any) -> str:
    """Return a version with other weights than the champion's."""
    import torch

    champion = project.registry.champion()
    tower = project.registry.load(champion)
    with torch.no_grad():
        tower.tower.absent.add_(0.25)
    return project.registry.save(tower, project.registry.card(champion) | card, metrics=metrics, history=[])


def from_spotify(project: Project, users: pl.Expr) -> None:
    """Make some users ones whose source is the Web API."""
    for table in (USERS, RAW_PLAYLISTS, USER_EMBEDDINGS):
        source = pl.when(users).then(pl.lit("spotify")).otherwise("source").alias("source")
        project.lake.replace(table, [0, 1], [project.lake.scan(table).with_columns(source).collect()])


EVERYBODY = pl.lit(True)
HALF = pl.col("user_id").hash(1) % 2 == 0


class TestFinishing:
    def test_after_a_run_the_champion_answers_and_nothing_is_left(
        self, project: Project, instance: dg.DagsterInstance
    ) -> None:
        champion = project.registry.champion()
        assert champion == project.published() == project.registry.latest()
        (row,) = project.registry.versions()
        assert row["decision"]["passed"]
        assert row["metrics"]["validation_mrr"] == project.registry.card(champion)["metrics"]["validation_mrr"] > 0.5
        assert project.registry.measurement(champion) == {}, "40 users are too few to keep any from training"
        assert (project.registry.root / champion / "plots" / "taste_map.png").read_bytes().startswith(b"\x89PNG")
        card = project.registry.card(champion)
        assert card["snapshot"]["users"] == {"version": 1, "rows": 40}
        assert card["trained_on"]["sources"] == {"synthetic": 40}
        assert stages(project, instance) == {}

    def test_answering_loads_neither_mlflow_nor_dagster(self, project: Project) -> None:
        code = """
import sys
from spotify_dag.cli.main import app
app(["--data", sys.argv[1], "recommend", "synthetic-000007", "-k", "1", "--json"], standalone_mode=False)
print([name for name in ("mlflow", "sqlalchemy", "dagster") if name in sys.modules])
"""
        done = subprocess.run(
            [sys.executable, "-c", code, project.settings.data],
            env={**os.environ, "SPOTIFY_DAG_N_BUCKETS": "2"}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        *answer, loaded = done.stdout.splitlines()
        assert json.loads("\n".join(answer))["model_version"] == project.published()
        assert loaded == "[]"

    def test_killed_before_the_gate_was_asked(self, project: Project, instance: dg.DagsterInstance) -> None:
        champion = project.registry.champion()
        unjudged = another_tower(project, SOUND | {"mrr": 0.9})
        assert stages(project, instance) == {"train": "the gate was not asked about the last one"}
        # Training gives the champion's weights again, so the other one stays what it was.
        assert project.registry.latest() == project.registry.champion() == champion
        assert project.registry.decision(unjudged) is None
        assert stages(project, instance) == {}

    def test_killed_between_the_decision_and_the_promotion(
        self, project: Project, instance: dg.DagsterInstance
    ) -> None:
        passed = another_tower(project, SOUND | {"mrr": 0.9})
        project.registry.record_decision(passed, decide(SOUND | {"mrr": 0.9}, None, {}))
        assert list(stages(project, instance)) == ["index"]
        assert project.registry.champion() == project.published() == passed
        assert project.user_index(passed).rows().height == 40

    def test_killed_between_the_last_vector_and_the_switch(
        self, project: Project, instance: dg.DagsterInstance
    ) -> None:
        champion = project.published()
        (project.vectors / "published.json").unlink()
        assert stages(project, instance) == {}
        assert project.published() == champion

    def test_a_version_whose_weights_were_changed_is_not_published(
        self, project: Project, instance: dg.DagsterInstance
    ) -> None:
        (project.vectors / "published.json").unlink()
        champion = project.registry.champion()
        weights = project.registry.root / champion / "tower.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(Exception, match="were changed since training"):
            stages(project, instance)
        assert project.published() is None

    def test_weights_that_were_cut_short_are_put_back(self, project: Project, instance: dg.DagsterInstance) -> None:
        (project.vectors / "published.json").unlink()
        champion = project.registry.champion()
        weights = project.registry.root / champion / "tower.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-1])
        stages(project, instance)
        assert weights.read_bytes() == whole
        assert project.published() == champion

    def test_rolled_back_is_indexed_and_answers_and_stays(self, project: Project, instance: dg.DagsterInstance) -> None:
        former = project.registry.champion()
        passed = another_tower(project, SOUND | {"mrr": 0.9})
        project.registry.promote(passed, decide(SOUND | {"mrr": 0.9}, None, {}))
        stages(project, instance)
        assert project.published() == passed
        project.registry.rollback()
        assert stages(project, instance) == {}
        assert project.registry.champion() == project.published() == former


class TestSwitch:
    def test_the_live_version_takes_new_users_while_the_next_is_built_and_nobody_is_missing_after(
        self, project: Project, instance: dg.DagsterInstance
    ) -> None:
        live = project.published()
        passed = another_tower(project, SOUND | {"mrr": 0.9})
        project.registry.promote(passed, decide(SOUND | {"mrr": 0.9}, None, {}))
        hand_in(project, "anna", ["Radiohead", "Muse"])
        (bucket,) = user_buckets(["export-anna"], 2)
        definitions = build_definitions(settings=project.settings)
        for stage in ("ingest", "features", "index"):
            definitions.resolve_job_def(stage).execute_in_process(instance=instance, partition_key=f"{bucket:02d}")
        assert project.published() == live
        assert project.user_index(live).rows().height == 41
        assert "export-anna" in project.user_index(passed).vectors(["export-anna"])
        assert project.user_index(passed).rows().height < 41
        assert list(stages(project, instance)) == ["index"]
        assert project.published() == passed
        assert project.user_index(passed).rows().height == 41
        assert project.user_index(live).rows().height == 41


class TestGate:
    def test_a_challenger_that_fails_leaves_the_champion_and_says_why(
        self, project: Project, instance: dg.DagsterInstance
    ) -> None:
        champion = project.registry.champion()
        worse = another_tower(project, SOUND | {"mrr": 0.01})
        project.registry.record_decision(worse, decide(SOUND | {"mrr": 0.01}, {"mrr": 0.9, "coverage": 1.0}, {}))
        assert stages(project, instance) == {}
        assert project.registry.champion() == project.published() == champion
        (note,) = summary(project)["notes"]
        assert note.startswith(f"{worse} stays a challenger: mrr is 0.01; it must be > 0.9 (the champion's).")

    def test_equal_training_leaves_one_champion_with_its_decision(
        self, project: Project, instance: dg.DagsterInstance
    ) -> None:
        champion = project.registry.champion()
        assert stages(project, instance, train=True) == {"tracks": "asked for", "train": "asked for"}
        (row,) = project.registry.versions()
        assert (row["model_version"], row["status"], row["decision"]["passed"]) == (champion, "champion", True)

    def test_a_champion_of_other_features_indexes_nobody_and_one_of_these_takes_its_place(
        self, project: Project, instance: dg.DagsterInstance
    ) -> None:
        served = project.published()
        other = another_tower(project, SOUND | {"mrr": 0.9}, feature_version="those of last year")
        project.registry.promote(other)
        assert f"The champion {other} was trained for other features" in summary(project)["notes"][0]
        # It cannot be measured on users as they are now, so it is nobody to beat.
        assert stages(project, instance) == {"train": "the features have changed"}
        assert project.user_index(other).rows().is_empty()
        assert project.registry.champion() == project.published() == served
        assert summary(project)["notes"] == []


class TestDataPolicy:
    def test_users_of_the_web_api_are_left_out_of_training_to_the_last_row(self, project: Project) -> None:
        from_spotify(project, HALF)
        left_out = set(project.lake.scan(USERS).filter(HALF).collect()["user_id"])
        data = training_users(project)
        assert 10 < len(left_out) < 30
        assert set(data.users["user_id"]) == set(data.raw["user_id"])
        assert len(data.users) == 40 - len(left_out)
        assert not left_out & set(data.raw["user_id"])
        assert trainable_users(project).collect().height == 40 - len(left_out)
        assert nothing_to_train_on(project) is None

    def test_the_switch_lets_them_in(self, project: Project) -> None:
        from_spotify(project, EVERYBODY)
        assert training_users(project).users.is_empty()
        allowed = Project.open(Settings(data=project.settings.data, n_buckets=2, train_on_spotify=True))
        assert nothing_to_train_on(allowed) is None
        assert len(training_users(allowed).users) == 40

    def test_with_nobody_left_users_are_indexed_with_the_champion_all_the_same(
        self, project: Project, instance: dg.DagsterInstance
    ) -> None:
        from_spotify(project, EVERYBODY)
        champion = project.registry.champion()
        index = project.user_index(champion)
        index.replace([0], index.rows(with_vectors=True).clear())
        assert index.rows().height < 40
        assert list(stages(project, instance, train=True)) == ["tracks", "index"]
        assert index.rows().height == 40
        assert project.published() == project.registry.champion() == champion
        assert stages(project, instance) == {}

    def test_with_nobody_left_and_no_champion_it_says_what_to_do_and_does_not_fail(
        self, project: Project, instance: dg.DagsterInstance
    ) -> None:
        from_spotify(project, EVERYBODY)
        shutil.rmtree(project.registry.root)
        shutil.rmtree(project.vectors)
        for expected in (["tracks"], []):  # the policy changed for what playlists teach, too
            assert list(stages(project, instance)) == expected
        (note,) = summary(project)["notes"]
        assert note.startswith("Nothing to train on: 40 of 40 users come from the Spotify Web API")
        for word in ("SPOTIFY_DAG_TRAIN_ON_SPOTIFY=true", "export", "synthetic", "listenbrainz"):
            assert word in note
        result = CliRunner(env={"SPOTIFY_DAG_N_BUCKETS": "2"}).invoke(
            app, ["--data", str(project.settings.data), "run"]
        )
        assert result.exit_code == 0, result.output
        assert note in result.stdout

    def test_a_data_root_of_nobody_is_up_to_date_and_says_what_to_do(
        self, instance: dg.DagsterInstance, tmp_path: Path
    ) -> None:
        project = Project.open(Settings(data=tmp_path / "nobody", n_buckets=2))
        assert list(stages(project, instance)) == ["tracks"]
        assert nothing_to_train_on(project).startswith(
            "Nothing to train on: a tower takes at least 2 users, and there are 0."
        )

    def test_started_from_the_ui_it_makes_nothing_and_does_not_fail(
        self, project: Project, instance: dg.DagsterInstance
    ) -> None:
        from_spotify(project, EVERYBODY)
        before = project.registry.versions()
        job = build_definitions(settings=project.settings).resolve_job_def("train")
        result = job.execute_in_process(instance=instance, partition_key=current_week())
        assert result.success
        assert not result.asset_materializations_for_node("user_tower")
        assert project.registry.versions() == before
