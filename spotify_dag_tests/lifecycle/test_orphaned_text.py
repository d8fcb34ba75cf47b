"""Words that only one person's listening held are gone with the person: from tables, indexes and every kept model."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from samples.app_world import BUCKETS, make_world, publish_model, user_id
from samples.export_files import HEADING_A, row_a, table
from spotify_dag.definitions import build_definitions
from spotify_dag.lifecycle.find_mentions import find_mentions
from spotify_dag.lifecycle.forget import forget
from spotify_dag.lifecycle.orphaned_text import OrphanedText
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.orchestration.instance import open_instance
from spotify_dag.project import Project
from spotify_dag.schemas import TEXT_VECTORS, TRACK_CATALOGUE, USER_EMBEDDINGS, USERS
from spotify_dag.settings import Settings
from spotify_dag.sources.export.reading import Reading
from spotify_dag.stores.model_registry import CARD_FILE, WEIGHTS_FILE
from spotify_dag.tower.kernel import KernelComponents
from spotify_dag.training_data.listening import read_listening
from spotify_dag_tests.conftest import made_once

pytestmark = pytest.mark.slow

ANNA = "export-anna"
MARKS = ("Zqtitel", "zqtitel", "Zqartist", "zqartist", "Zqalbum", "zqalbum", "Zqlist")
"""As the file spells them, and as they are compared."""


def make(folder: Path) -> None:
    """Make a world with one private user whose words nobody else has, tracks, and a model that was trained on her."""
    project = make_world(folder / "data")
    file = folder / "Zqlist.csv"
    cells = {"Track Name": "Zqtitel", "Album Name": "Zqalbum"}
    rows = [row_a(number, ["Zqartist"] if number % 2 else ["Prince"], **cells) for number in range(8)]
    file.write_bytes(table(HEADING_A, rows))
    project.inbox.requests.hand_in("export", ANNA, Reading(file, ANNA).frames(), opted_in=False)
    file.unlink()
    project.inbox.requests.sweep()
    with open_instance(project) as instance:
        definitions = build_definitions(settings=project.settings)
        assert list(bring_up_to_date(project, definitions, instance, only_features=True))
        assert definitions.resolve_job_def("tracks").execute_in_process(instance=instance).success
    with_components(project, publish_model(project, 2))


def with_components(project: Project, version: str) -> str:
    """Save the model once more, with every user as a landmark."""
    model, users, vectors = projected(project, version)
    components = KernelComponents.fit(vectors, 12, 0.5)
    digests = project.tombstones.digests(users)
    return project.registry.save(
        replace(model, components=components), {"feature_version": ""}, metrics={}, history=[], landmark_users=digests
    )


def projected(project: Project, version: str):  # type: ignore[no-untyped-def]
    users = project.lake.scan(USER_EMBEDDINGS).sort("user_bucket", "user_id").collect()
    listening, catalogue = read_listening(project, BUCKETS, users)
    model = project.registry.load(version)
    return model, users["user_id"].to_list(), model.encode(listening, catalogue)


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Project:
    """A copy of it."""
    data = made_once(tmp_path_factory, "orphans", make) / "data"
    shutil.copytree(data, tmp_path / "data")
    return Project.open(Settings(data=tmp_path / "data", n_buckets=len(BUCKETS)))


def versions(project: Project) -> list[str]:
    return sorted({path.parent.name for path in project.registry.root.glob(f"tower-*/{WEIGHTS_FILE}")})


def found(project: Project, text: str) -> list[str]:
    return sorted({row["track_name"] for row in project.track_answers.search(text, 5) if row["track_name"] == text})


def test_where_everybody_is_there_nothing_is_orphaned(project: Project) -> None:
    assert OrphanedText(project, "nobody").count() == {}
    # Of herself, the landmark in a version and in MLflow's copy of it.
    assert OrphanedText(project, ANNA).count() == {"models: the user's landmark, or text that nobody has": 2}
    assert found(project, "Zqtitel") == ["Zqtitel"]  # a catalogue has an id for it
    for mark in MARKS:
        assert find_mentions(project, mark).total > 0, mark


def test_words_that_only_one_person_had_go_with_them(project: Project) -> None:
    before = project.lake.scan(TRACK_CATALOGUE).collect()
    texts = project.lake.scan(TEXT_VECTORS).select("text").collect()["text"].n_unique()
    done = forget(project, ANNA)
    assert done.deleted["vectors/tracks"] == done.deleted["lake/track_catalogue"] == 8
    assert found(project, "Zqtitel") == []
    assert found(project, before.filter(pl.col("track_name") != "Zqtitel")["track_name"][0])
    for mark in MARKS:
        assert find_mentions(project, mark).counts == {}, mark
    assert find_mentions(project, ANNA).counts == {}
    # Nothing else went.
    left = project.lake.scan(TRACK_CATALOGUE).sort("track_id").collect()
    assert left.equals(before.filter(pl.col("track_name") != "Zqtitel").sort("track_id"))
    assert project.lake.scan(TEXT_VECTORS).select("text").collect()["text"].n_unique() == texts - 3
    assert project.track_index.column("track_id").height == left.height
    assert forget(project, ANNA).deleted == {}


def test_what_is_killed_on_the_way_is_seen_and_finished(project: Project) -> None:
    """As if forgetting had been killed once the rows of the user were gone."""
    from spotify_dag.lifecycle.forget import remove

    project.tombstones.add(ANNA)
    remove(project, ANNA)
    kept = find_mentions(project, ANNA).counts
    assert {name.split(":")[0] for name in kept} >= {"vectors/tracks", "lake/track_catalogue", "lake/text_vectors", "models"}  # fmt: skip  # noqa: E501
    forget(project, ANNA)
    assert find_mentions(project, ANNA).counts == {}


def test_no_kept_model_holds_the_vector_of_somebody_forgotten(project: Project) -> None:
    """In the version itself and in MLflow's copy; the models go on, and others hardly move."""
    (digest,) = project.tombstones.digests([user_id(7)])
    files = [path for path in project.registry.root.rglob(WEIGHTS_FILE) if "components.axes" in load_file(path)]
    assert len(files) == 2
    for path in files:
        row = json.loads(path.with_name("landmark_users.json").read_text()).index(digest)
        assert load_file(path)["components.landmarks"][row].any()
    (version,) = {path.parent.name for path in files if path.parent.name.startswith("tower-")}
    _, users, before = projected(project, version)
    plain = [one for one in versions(project) if one != version]
    others = {one: projected(project, one)[2] for one in plain}
    done = forget(project, user_id(7))
    assert done.deleted["models/towers"] >= 2
    for path in files:
        arrays = load_file(path)
        assert not arrays["components.landmarks"][row].any()
        assert not arrays["components.axes"][row].any()
        assert (arrays["components.landmarks"].any(axis=1)).sum() == len(users) - 1
        card = json.loads(path.with_name(CARD_FILE).read_text())
        assert card["trained_sha256"].startswith(version.removeprefix("tower-"))
    _, left, after = projected(project, version)
    assert left == [user for user in users if user != user_id(7)]
    stayed = [number for number, user in enumerate(users) if user != user_id(7)]
    assert np.sum(before[stayed] * after, axis=1).min() > 0.95  # of 31 landmarks, one went
    for one in plain:
        _, _, same = projected(project, one)
        assert np.sum(others[one][stayed] * same, axis=1).min() > 0.9999
    assert project.lake.scan(USERS).filter(pl.col("user_id") == user_id(7)).collect().is_empty()
