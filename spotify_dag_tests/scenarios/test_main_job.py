"""The main job from outside: what a person types, what is printed, what is left on disk."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner, Result

from spotify_dag.cli.main import app
from spotify_dag.project import Project
from spotify_dag.schemas import RAW_PLAYLISTS, TABLES, USER_EMBEDDINGS
from spotify_dag.settings import Settings
from spotify_dag.sources.synthetic import SyntheticSource
from spotify_dag_tests.conftest import made_once

pytestmark = [pytest.mark.process, pytest.mark.slow]

COMMAND = Path(sys.executable).parent / "spotify-dag"
# Tests run beside each other: threads of two processes on the same cores would mostly wait for one another.
ENVIRONMENT = {
    "PATH": os.environ["PATH"], "COLUMNS": "160", "OMP_NUM_THREADS": "1",
    # Half of the world is enough to learn from; the others are met for the first time.
    "SPOTIFY_DAG_TRAIN_USERS": "300",
}  # fmt: skip
USERS = 600
WORLD = ("--source", "synthetic", "--tracks", "30", "--users", str(USERS))


def spotify_dag(data: Path, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person would."""
    return subprocess.run(
        [COMMAND, "--data", data, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT | {"HOME": str(data.parent)} | environment,
        check=False,
    )


def ask(data: Path, *arguments: str) -> Result:
    """Run a command that answers, in this process: starting one takes longer than most answers."""
    return CliRunner(env={"COLUMNS": "160"}).invoke(app, ["--data", str(data), *arguments])


def content(data: Path, **settings: Any) -> dict[str, pl.DataFrame]:
    """Return every table and the index, without the time of reading."""
    project = Project.open(Settings(data=data, **settings))
    frames = {
        table.name: project.lake.scan(table).drop("fetched_at", strict=False).sort(table.key).collect()
        for table in TABLES
        if table.key
    }
    return {**frames, "user_index": project.matcher.index()[0].rows(with_vectors=True)}


of_one_world = pytest.mark.xdist_group("world")
"""One worker makes the world that these tests share, in the order of this file."""


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of synthetic users."""
    return made_once(tmp_path_factory, "world", lambda folder: make_world(folder / "data")) / "data"


def children_time() -> float:
    """Return the processor time of all processes that this one started and that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def make_world(data: Path) -> None:
    done = spotify_dag(data, "run", *WORLD, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [stage["stage"] for stage in report["materialised"]] == ["ingest", "features", "tracks", "train", "index"]
    assert report["sources"][0]["users"] == report["users_in_index"] == USERS
    assert report["genre_coverage"] > 0.98
    assert report["not_embedded"] == report["rejects"] == []


@of_one_world
def test_neighbours_share_the_taste_that_was_planted(world: Path) -> None:
    index, _ = Project.open(Settings(data=world)).matcher.index()
    truth = dict(SyntheticSource(users=USERS, tracks=30).tastes().select("user_id", "community").iter_rows())
    rows = index.rows(with_vectors=True)
    # The neighbours that `recommend` explains, without thousands of explanations.
    nearest = index.nearest(rows["vector"].to_numpy(), 11)
    same = [
        sum(truth[other] == truth[user] for other in [other for other, _ in answer if other != user][:10]) / 10
        for user, answer in zip(rows["user_id"], nearest, strict=True)
    ]
    assert len(same) == USERS
    assert sum(same) / len(same) >= 0.8
    assert sum(share >= 0.8 for share in same) / len(same) >= 0.8


@of_one_world
def test_batch_answers_equal_single_answers(world: Path) -> None:
    matcher = Project.open(Settings(data=world)).matcher
    users = [f"synthetic-{number:06d}" for number in range(0, USERS, 59)]
    _, together = matcher.recommend(users, 10)
    assert together == [matcher.recommend([user], 10)[1][0] for user in users]


@of_one_world
def test_recommend_prints_what_machines_expect(world: Path) -> None:
    done = ask(world, "recommend", "synthetic-000007", "-k", "3", "--json")
    answer = json.loads(done.stdout)
    assert set(answer) == {"user_id", "model_version", "matches"}
    assert answer["user_id"] == "synthetic-000007"
    assert len(answer["matches"]) == 3
    for match in answer["matches"]:
        assert {"user_id", "score", "shared_genres", "shared_artists", "new_to_you"} <= set(match)
        assert match["user_id"] != "synthetic-000007"
        assert match["shared_genres"]
        assert set(match["shared_artists"][0]) == {"name", "yours", "theirs"}
    scores = [match["score"] for match in answer["matches"]]
    assert scores == sorted(scores, reverse=True)
    assert -1 <= scores[-1] <= scores[0] <= 1


@of_one_world
def test_recommend_prints_a_table_for_people(world: Path) -> None:
    done = spotify_dag(world, "recommend", "synthetic-000007")
    assert done.returncode == 0
    assert "Users who listen like synthetic-000007" in done.stdout
    assert len(re.findall(r"│ +\d+ │ synthetic-", done.stdout)) == 10


@of_one_world
def test_compare_is_symmetric(world: Path) -> None:
    one, other = (
        json.loads(ask(world, "compare", a, b, "--json").stdout)
        for a, b in (("synthetic-000001", "synthetic-000002"), ("synthetic-000002", "synthetic-000001"))
    )
    assert one["score"] == other["score"]
    assert one["new_to_you"] == other["new_to_other"]
    for key in ("shared_genres", "shared_artists", "shared_eras"):
        swapped = [{"name": row["name"], "yours": row["theirs"], "theirs": row["yours"]} for row in other[key]]
        assert one[key] == swapped


@of_one_world
def test_compare_with_oneself_is_a_perfect_match(world: Path) -> None:
    answer = json.loads(ask(world, "compare", "synthetic-000001", "synthetic-000001", "--json").stdout)
    assert answer["score"] == pytest.approx(1, abs=1e-5)
    assert answer["new_to_you"] == []


@of_one_world
def test_sql_sees_the_lake(world: Path) -> None:
    done = ask(world, "sql", "select count(*) as users, sum(rows_kept) as items from users", "--json")
    (row,) = json.loads(done.stdout)
    items = Project.open(Settings(data=world)).lake.scan(RAW_PLAYLISTS).select(pl.len()).collect().item()
    assert row == {"users": USERS, "items": items}


@of_one_world
def test_a_wrong_query_names_the_tables(world: Path) -> None:
    done = ask(world, "sql", "select * from nothing")
    assert done.exit_code != 0
    assert "Traceback" not in done.stderr
    assert "user_embeddings" in done.stderr


@of_one_world
def test_an_unknown_user_is_told_what_to_do(world: Path) -> None:
    done = ask(world, "recommend", "000007")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "Unknown user '000007'" in done.stderr
    assert "synthetic-000007" in done.stderr


@of_one_world
def test_nothing_new_materialises_nothing_and_is_quick(world: Path) -> None:
    before = content(world)
    begun = children_time()
    imports = [sys.executable, "-c", "import spotify_dag.definitions, mlflow, lancedb"]
    subprocess.run(imports, check=True, env=ENVIRONMENT)
    imported = children_time() - begun
    done = spotify_dag(world, "run", "--json")
    # By the clock a machine that is busy is slow. Beside what is imported, a run that finds nothing costs little.
    assert children_time() - begun - imported < 2 * imported, "processor time"
    assert json.loads(done.stdout)["materialised"] == []
    assert all(frame.equals(before[name]) for name, frame in content(world).items())


@of_one_world
def test_the_runs_are_in_the_dagster_instance(world: Path) -> None:
    import dagster as dg

    instance = dg.DagsterInstance.from_config(str(world / "dagster"))
    runs = {run.job_name: run.status for run in instance.get_runs()}
    assert set(runs) == {"ingest", "features", "tracks", "train", "index"}
    assert set(runs.values()) == {dg.DagsterRunStatus.SUCCESS}
    assert len(instance.get_materialized_partitions(dg.AssetKey("user_embeddings"))) == 64
    metadata = instance.get_latest_materialization_event(dg.AssetKey("user_tower")).asset_materialization.metadata
    assert "data:image/png;base64," in metadata["taste_map"].value
    assert metadata["validation_mrr"].value > 0.5


@of_one_world
def test_the_figure_shown_is_that_of_users_kept_from_all_training(world: Path) -> None:
    import dagster as dg

    report = json.loads(spotify_dag(world, "run", *WORLD, "--json").stdout)
    instance = dg.DagsterInstance.from_config(str(world / "dagster"))
    event = instance.get_latest_materialization_event(dg.AssetKey("tower_evaluation"))
    measured = event.asset_materialization.metadata
    assert measured["held_out"].value
    assert 15 < measured["users_asked"].value < 45, "a tenth of about 300 users: see ENVIRONMENT"
    assert report["model"]["mrr"] == pytest.approx(measured["mrr"].value)
    assert report["model"]["users"] == measured["users_asked"].value


@of_one_world
def test_new_users_touch_only_their_buckets(world: Path, tmp_path: Path) -> None:
    grown = shutil.copytree(world, tmp_path / "data")
    before = content(grown)["user_embeddings"]
    done = spotify_dag(grown, "run", *WORLD[:-1], str(USERS + 2), "--json")
    stages = {stage["stage"]: stage["buckets"] for stage in json.loads(done.stdout)["materialised"]}
    assert set(stages) == {"ingest", "features", "tracks", "index"}  # two users more are no reason to train
    assert stages["features"] == stages["index"] <= 2
    after = content(grown)["user_embeddings"]
    assert after.height == USERS + 2
    assert after.head(USERS).equals(before)


def test_the_same_seed_gives_the_same_result_whatever_happens_on_the_way(tmp_path: Path) -> None:
    """A run that is killed and made again ends as an undisturbed one; `bench/crash.py` kills thirty."""
    small = ("run", "--source", "synthetic", "--users", "24", "--tracks", "20")
    buckets = {"SPOTIFY_DAG_N_BUCKETS": "8"}  # fewer than usual: kills come a second or two after one another
    assert spotify_dag(tmp_path / "calm", *small, **buckets).returncode == 0
    process = subprocess.Popen(
        [COMMAND, "--data", tmp_path / "rough", *small],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT | {"HOME": str(tmp_path)} | buckets,
        start_new_session=True,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(8)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = spotify_dag(tmp_path / "rough", *small, **buckets)
    assert done.returncode == 0, done.stderr
    calm, rough = (content(tmp_path / root, n_buckets=8) for root in ("calm", "rough"))
    assert list(calm) == list(rough)
    for name, frame in calm.items():
        assert_frame_equal(rough[name], frame)
    models = [json.loads((tmp_path / root / "vectors" / "published.json").read_text()) for root in ("calm", "rough")]
    assert models[0] == models[1]
    champions = [Project.open(Settings(data=tmp_path / root)).registry.champion() for root in ("calm", "rough")]
    assert champions[0] == champions[1]


def test_real_listeners(hetrec_path: Path, test_data: Path, tmp_path: Path) -> None:
    """HetRec-2011, its first 100 listeners: everybody reaches the index, and the numbers are said."""
    genres = test_data / "artist-genres" / "artist_genres.parquet"
    arguments = ("run", "--source", "lastfm", "--path", hetrec_path, "--artist-genres", genres)
    done = spotify_dag(tmp_path / "data", *arguments, SPOTIFY_DAG_PROFILES_COUNT="100")
    assert done.returncode == 0, done.stderr
    rows = Project.open(Settings(data=tmp_path / "data")).lake.scan(USER_EMBEDDINGS).collect()
    assert rows["user_id"].n_unique() == 100
    assert rows["release_year_embedding"].null_count() == 100  # Last.fm knows no years: unknown is not zero
    assert re.search(r"lastfm +│ +100 +│", done.stdout)
    assert float(re.search(r"Genre coverage: ([\d.]+)%", done.stdout)[1]) >= 79
    assert "Not embedded: 0 users" in done.stdout
    assert "100 users in the index" in done.stdout
    again = spotify_dag(tmp_path / "data", *arguments, "--json", SPOTIFY_DAG_PROFILES_COUNT="100")
    assert json.loads(again.stdout)["materialised"] == []
