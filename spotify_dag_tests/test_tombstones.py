"""Tombstones: they are found by id, name nobody, and share one key."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from spotify_dag.tombstones import TombstoneError, Tombstones


def test_who_was_forgotten_is_known_by_id_only(tmp_path: Path) -> None:
    tombstones = Tombstones(tmp_path)
    assert "anna" not in tombstones
    assert not (tmp_path / "forgotten").exists()
    for user in ("anna", "änna/../x", "anna"):
        tombstones.add(user)
    assert tombstones.among(["anna", "ann", "annab", "änna/../x"]) == {"anna", "änna/../x"}
    held = [(file.name, file.read_bytes()) for file in (tmp_path / "forgotten").iterdir()]
    assert len(held) == 3
    assert not any("nna" in name or b"nna" in content for name, content in held)
    assert (tmp_path / "forgotten" / "key").stat().st_mode & 0o777 == 0o600
    assert [tombstones.lift("anna"), tombstones.lift("anna"), tombstones.lift("bob")] == [True, False, False]
    assert tombstones.among(["anna", "änna/../x"]) == {"änna/../x"}


def test_of_two_data_roots_the_same_user_has_other_tombstones(tmp_path: Path) -> None:
    names = []
    for root in (tmp_path / "a", tmp_path / "b"):
        Tombstones(root).add("anna")
        names.append({file.name for file in (root / "forgotten").iterdir()})
    assert names[0] & names[1] == {"key"}


def test_without_the_key_nobody_is_taken_in_by_mistake(tmp_path: Path) -> None:
    tombstones = Tombstones(tmp_path)
    tombstones.add("anna")
    (tmp_path / "forgotten" / "key").unlink()
    with pytest.raises(TombstoneError, match="key is gone"):
        tombstones.among(["bob"])
    with pytest.raises(TombstoneError, match="key is gone"):
        tombstones.add("bob")  # under a new key, nobody of before would be known


def add(root: Path, user: str) -> None:
    Tombstones(root).add(user)


@pytest.mark.process
def test_processes_that_make_the_first_at_once_agree_on_the_key(tmp_path: Path) -> None:
    users = [f"user-{number}" for number in range(40)]
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(add, [tmp_path] * 40, users))
    assert Tombstones(tmp_path).among(users) == set(users)
    assert len(list((tmp_path / "forgotten").iterdir())) == 41
