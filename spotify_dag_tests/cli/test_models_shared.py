"""``spotify-dag models export | import``: what travels, what is refused, and what answers afterwards."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file
from typer.testing import CliRunner, Result

from spotify_dag.cli.main import app
from spotify_dag.definitions import build_definitions
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.project import Project
from spotify_dag.schemas import USERS
from spotify_dag.settings import Settings
from spotify_dag.stores.shared_weights import write_shared
from spotify_dag.tower.local_mix import LOCAL_MIXES
from spotify_dag.tower.mix import NETWORK_ALONE

pytestmark = pytest.mark.slow


def models(project: Project, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--data", str(project.settings.data), "models", *arguments])


@pytest.fixture
def exported(project: Project, tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    result = models(project, "export", project.registry.champion() or project.registry.latest(), "--to", str(folder))
    assert result.exit_code == 0, result.output
    return folder


def test_the_folder_is_a_model_repository_without_users(project: Project, exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == ["README.md", "model.json", "tower.safetensors"]
    front = yaml.safe_load((exported / "README.md").read_text().split("---")[1])
    assert (front["license"], front["library_name"]) == ("cc0-1.0", "spotify-dag")
    users = project.lake.scan(USERS).select("user_id").collect()["user_id"].to_list()
    content = b"".join(path.read_bytes() for path in exported.iterdir())
    assert not [user for user in users if user.encode() in content]
    digests = project.tombstones.digests(users)
    assert not [digest for digest in digests if digest.encode() in content]
    (index,) = project.user_indexes()
    vectors = np.array(list(index.vectors(users).values()), np.float64)
    model = project.registry.load(index.model_version)
    landmarks = None if model.components is None else model.components.landmarks
    for name, tensor in load_file(exported / "tower.safetensors").items():
        for theirs in (vectors, landmarks):
            if theirs is not None and tensor.ndim == 2 and tensor.shape[1] == theirs.shape[1]:
                lengths = np.linalg.norm(tensor, axis=1, keepdims=True) * np.linalg.norm(theirs, axis=1)
                assert np.max(tensor @ theirs.T / np.maximum(lengths, 1e-9)) < 1 - 1e-5, name
    card = json.loads((exported / "model.json").read_text())
    assert card["trained_on"]["sources"] == {"synthetic": 40}
    assert "digest" not in card["trained_on"]


def test_imported_weights_serve_a_base_that_has_no_model(exported: Path, tmp_path: Path, empty_store: Path) -> None:
    other = Project.open(Settings(data=tmp_path / "other", n_buckets=2))
    other.registry.root.mkdir(parents=True)
    shutil.copy(empty_store, other.registry.root / "mlflow.db")
    other.inbox.register_source("synthetic", {"users": 12, "playlists": 2, "tracks": 10, "seed": 5})
    result = models_of(other, "import", str(exported))
    assert result.exit_code == 0, result.output
    assert "Mix kept as given: 0 users here can choose, which takes 20." in result.output
    version = other.registry.champion()
    definitions = build_definitions(settings=other.settings)
    with dg.DagsterInstance.ephemeral() as instance:
        stages = [stage.stage for stage in bring_up_to_date(other, definitions, instance)]
    assert "train" not in stages
    assert other.published() == version
    _, (matches,) = other.matcher.recommend(["synthetic-000003"], 5)
    assert len(matches) == 5
    # Another table of genres does not make them useless.
    genres = tmp_path / "genres.csv"
    genres.write_text("artist_name,genres\nNobody,noise\n")
    other.inbox.register_artist_genres(genres)
    with dg.DagsterInstance.ephemeral() as instance:
        list(bring_up_to_date(other, definitions, instance))
    assert other.published() == version
    assert len(other.matcher.recommend(["synthetic-000003"], 5)[1][0]) == 5


def test_users_who_are_here_choose_the_mix(project: Project, exported: Path) -> None:
    # A giver whose network tells nobody apart, and nothing but the network counts.
    card = json.loads((exported / "model.json").read_text())
    del card["weights_sha256"]
    card["config"]["mix"] = asdict(NETWORK_ALONE)
    arrays = load_file(exported / "tower.safetensors")
    arrays |= {name: 0 * arrays[name] for name in ("tower.linear.weight", "tower.joint.4.weight")}
    weights = {name: torch.from_numpy(array) for name, array in arrays.items() if "components." not in name}
    write_shared(str(exported), weights, card)
    report = json.loads(models(project, "import", str(exported), "--json").stdout)
    mix = report["mix"]
    assert mix == {"chosen_here": True, "users": 40}  # and no figure: they chose by it
    saved = project.registry.card(report["champion"])
    assert saved["imported"]["mix"] == mix
    assert saved["config"]["mix"] in [asdict(mix) for mix in LOCAL_MIXES]
    assert saved["metrics"]["mix_axes"] == saved["config"]["mix"]["axes"]
    assert "imported" in project.registry.readable_card(report["champion"])
    result = models(project, "import", str(exported))
    assert " ".join(result.output.split()).startswith(
        "Mix chosen by 40 users here: they find their other halves better"
    )
    assert project.registry.champion() == report["champion"]
    refused = models(project, "export", report["champion"], "--to", str(exported))
    assert refused.exit_code == 1
    assert "must not be given away: users here chose its mix." in " ".join(refused.stderr.split())


def models_of(project: Project, *arguments: str) -> Result:
    # As the settings of the command line come from the environment, the number of buckets does, too.
    return CliRunner().invoke(
        app, ["--data", str(project.settings.data), "models", *arguments], env={"SPOTIFY_DAG_N_BUCKETS": "2"}
    )


@pytest.mark.parametrize("source", ["spotify", "lastfm-api", "lastfm", "mpd", "export", "spotify-songs"])
def test_training_sources_that_forbid_it_are_named(project: Project, tmp_path: Path, source: str) -> None:
    version = project.registry.latest()
    card_path = project.registry.root / version / "model.json"
    card: dict[str, Any] = json.loads(card_path.read_bytes())
    card["trained_on"]["sources"] = {"listenbrainz": 30, source: 1}
    card_path.write_text(json.dumps(card))
    result = models(project, "export", version, "--to", str(tmp_path / "shared"))
    assert result.exit_code == 1
    assert f"must not be given away: it was trained on {source}." in " ".join(result.stderr.split())
    assert not (tmp_path / "shared").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": "9-other"}, "were trained with features 9-other"),
        ({"weights_sha256": "0" * 64}, "were changed or cut short"),
        ({"format": 3}, "has format 3; this program reads 1 to 2"),
        ({"config": {}}, "do not fit the tower"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    project: Project, exported: Path, change: dict[str, Any], message: str
) -> None:
    card = json.loads((exported / "model.json").read_text())
    (exported / "model.json").write_text(json.dumps(card | change))
    champion = project.registry.champion()
    result = models_of(project, "import", str(exported))
    assert result.exit_code == 1
    assert message in " ".join(result.stderr.split())
    assert project.registry.champion() == champion


def test_a_place_without_weights_is_named(project: Project, tmp_path: Path) -> None:
    result = models_of(project, "import", str(tmp_path))
    assert result.exit_code == 1
    assert "has no model.json and tower.safetensors" in " ".join(result.stderr.split())
    assert models_of(project, "import", "hf:x/y/z").exit_code == 1
