"""The registry: a version is its weights, one pointer says who serves, and no write leaves half a file."""

from __future__ import annotations

import json
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from spotify_dag.resources.registry import NoModelError, Registry, write_atomically
from spotify_dag.tower.inputs import TowerInputs
from spotify_dag.tower.model import UserTower

PART_DIMS = (12, 12, 12, 5)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


def tower(seed: int) -> UserTower:
    """Return a tower whose every number is drawn, the buffers too."""
    torch.manual_seed(seed)
    made = UserTower(PART_DIMS, hidden=16, part_out=8, dim=6, anchor_dim=4, dropout=0.5)
    with torch.no_grad():
        for tensor in made.state_dict().values():
            tensor.normal_().abs_().add_(0.1)
    return made


def inputs(users: int = 50) -> TowerInputs:
    rng = np.random.default_rng(0)
    parts = tuple(rng.normal(size=(users, dim)).astype(np.float32) for dim in PART_DIMS)
    known = (rng.random((users, len(PART_DIMS))) < 0.8).astype(np.float32)
    return TowerInputs(parts, known, rng.random((users, 4)).astype(np.float32))


class TestVersions:
    def test_a_loaded_tower_gives_the_very_same_vectors(self, registry: Registry) -> None:
        made = tower(1)
        version = registry.save(made, {"users": 3})
        loaded = registry.load(version)
        assert not loaded.training
        assert loaded.config == made.config
        vectors = made.encode(inputs())
        assert vectors.shape == (50, 10)
        np.testing.assert_array_equal(loaded.encode(inputs()), vectors)

    def test_equal_weights_are_the_same_version(self, registry: Registry) -> None:
        first, again, other = (registry.save(tower(seed), {}) for seed in (1, 1, 2))
        assert first == again != other
        assert sorted(path.name for path in registry.root.iterdir()) == sorted([first, other, "latest.json"])
        assert first.startswith("tower-")
        assert len(first) == len("tower-") + 12

    def test_the_card_says_what_was_given_and_what_it_is_a_card_of(self, registry: Registry) -> None:
        version = registry.save(tower(1), {"users": 3, "recall": 0.5, "model_version": "made up"})
        card = registry.card(version)
        assert card["users"] == 3
        assert card["recall"] == 0.5
        assert card["model_version"] == version
        assert card["weights_sha256"].startswith(version.removeprefix("tower-"))
        assert card["config"]["part_dims"] == list(PART_DIMS)

    @pytest.mark.parametrize("place", [0, 1_000, -1])
    def test_altered_weights_are_refused(self, registry: Registry, place: int) -> None:
        version = registry.save(tower(1), {})
        weights = registry.root / version / "tower.safetensors"
        content = bytearray(weights.read_bytes())
        content[place] ^= 1
        weights.write_bytes(content)
        with pytest.raises(NoModelError, match=f"The weights of '{version}' were changed .* spotify-dag run --train"):
            registry.load(version)

    def test_weights_cut_short_are_refused(self, registry: Registry) -> None:
        version = registry.save(tower(1), {})
        weights = registry.root / version / "tower.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1])
        with pytest.raises(NoModelError, match="were changed since training"):
            registry.load(version)

    def test_an_unknown_version_is_named(self, registry: Registry) -> None:
        for attempt in (registry.card, registry.load, registry.promote):
            with pytest.raises(NoModelError, match="Unknown model version 'tower-none'"):
                attempt("tower-none")
        assert not registry.root.exists()


class TestPointers:
    def test_without_models_there_is_neither_latest_nor_champion(self, registry: Registry) -> None:
        assert registry.latest() is None
        assert registry.champion() is None

    def test_latest_is_the_one_trained_last_and_champion_the_one_promoted(self, registry: Registry) -> None:
        first, second = registry.save(tower(1), {}), registry.save(tower(2), {})
        assert registry.latest() == second
        assert registry.champion() is None
        registry.promote(first)
        assert (registry.latest(), registry.champion()) == (second, first)
        registry.promote(second)
        assert registry.champion() == second
        registry.promote(first)
        assert registry.champion() == first
        assert registry.save(tower(1), {}) == first
        assert (registry.latest(), registry.champion()) == (first, first)

    def test_an_unknown_version_does_not_dethrone_the_champion(self, registry: Registry) -> None:
        version = registry.save(tower(1), {})
        registry.promote(version)
        with pytest.raises(NoModelError):
            registry.promote("tower-none")
        assert registry.champion() == version


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the operating system refuse to write more: the nearest to a full disk that a test can make."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestWriteAtomically:
    def test_it_writes_and_leaves_nothing_else(self, tmp_path: Path) -> None:
        for content in (b"one", b"", b"x" * 100_000):
            write_atomically(tmp_path / "new" / "folder" / "file.json", content)
            assert (tmp_path / "new" / "folder" / "file.json").read_bytes() == content
        assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["file.json"]

    def test_when_the_disk_is_full_the_old_content_stays(self, tmp_path: Path) -> None:
        file = tmp_path / "file.json"
        write_atomically(file, b"old")
        with files_of_at_most(1_000), pytest.raises(OSError, match="File too large"):
            write_atomically(file, b"x" * 100_000)
        assert file.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [file]

    def test_when_the_name_is_taken_by_a_folder_nothing_is_left(self, tmp_path: Path) -> None:
        (tmp_path / "file.json").mkdir()
        with pytest.raises(IsADirectoryError):
            write_atomically(tmp_path / "file.json", b"new")
        assert [path.name for path in tmp_path.iterdir()] == ["file.json"]

    def test_a_save_that_fails_leaves_the_pointer_as_it_was(self, registry: Registry) -> None:
        version = registry.save(tower(1), {})
        registry.promote(version)
        with files_of_at_most(1_000), pytest.raises(OSError, match="File too large"):
            registry.save(tower(2), {})
        assert (registry.latest(), registry.champion()) == (version, version)
        assert not [path for path in registry.root.rglob("*") if path.suffix == ".tmp"]
        registry.load(version)

    def test_readers_see_one_content_or_the_other(self, tmp_path: Path) -> None:
        file = tmp_path / "pointer.json"
        contents = [json.dumps({"model_version": letter * 5_000}).encode() for letter in "ab"]
        write_atomically(file, contents[0])
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                for content in contents:
                    write_atomically(file, content)

        writers = [threading.Thread(target=write) for _ in range(2)]
        for writer in writers:
            writer.start()
        try:
            seen = {file.read_bytes() for _ in range(2_000)}
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        assert seen <= set(contents)
        assert list(tmp_path.iterdir()) == [file]
