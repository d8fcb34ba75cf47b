"""The lock files hold what pyproject.toml declares: a fresh checkout then has all that the code imports."""

from __future__ import annotations

import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from spotify_dag_tests.conftest import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
RUN = [*PROJECT["dependencies"], *EXTRAS["postgres"], *EXTRAS["tune"]]


def locked(name: str) -> dict[str, str]:
    lines = (REPOSITORY / name).read_text().splitlines()
    pins = (line.split("==") for line in lines if "==" in line)
    return {canonicalize_name(package): version for package, version in pins}


@pytest.mark.parametrize(
    ("lock", "declared"),
    [("requirements.lock", RUN), ("requirements-dev.lock", [*RUN, *EXTRAS["ray"], *EXTRAS["k8s"], *EXTRAS["dev"]])],
)
def test_a_lock_has_what_is_declared(lock: str, declared: list[str]) -> None:
    pins = locked(lock)
    requirements = map(Requirement, declared)
    wrong = [
        str(requirement)
        for requirement in requirements
        if not requirement.specifier.contains(pins.get(canonicalize_name(requirement.name), "0"))
    ]
    assert wrong == []


def test_both_locks_agree() -> None:
    everything = locked("requirements-dev.lock")
    assert {name: everything.get(name) for name in locked("requirements.lock")} == locked("requirements.lock")
