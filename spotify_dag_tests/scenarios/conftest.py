"""Servers of one's own."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from spotify_dag_tests.scenarios.ray_nodes import RayNodes
from spotify_dag_tests.scenarios.servers import PROGRAMS, Ceph, Postgres


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    if PROGRAMS is None or not (PROGRAMS / "initdb").is_file():
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    pytest.importorskip("dagster_postgres", reason="it is not installed: pip install 'spotify-dag[postgres]'")
    user = next((name for name in ("postgres", "nobody") if name in {entry.pw_name for entry in pwd.getpwall()}), None)
    if os.getuid() == 0 and user is None:
        pytest.skip("PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody'")
    # Not under pytest's folder, which nobody else may enter.
    folder = Path(tempfile.mkdtemp(prefix="spotify-dag-postgres-"))
    try:
        if os.getuid() == 0:
            shutil.chown(folder, user)
        server = Postgres(folder, user or "")
        server.start()
        yield server
        with suppress(AssertionError):
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def ceph() -> Iterator[Ceph]:
    if missing := Ceph.missing():
        pytest.skip(f"Ceph is not installed ({missing[0]}): apt-get install ceph-mon ceph-osd radosgw ceph-common")
    # Paths of sockets are short.
    folder = Path(tempfile.mkdtemp(prefix="spotify-dag-ceph-"))
    server = Ceph(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def ray_nodes() -> Iterator[RayNodes]:
    """Nodes that a test starts, with the variables that it wants."""
    for name in ("dagster_ray", "ray"):
        pytest.importorskip(name, reason="it is not installed: pip install 'spotify-dag[ray]'")
    # Paths of sockets are short.
    folder = Path(tempfile.mkdtemp(prefix="spotify-dag-ray-"))
    nodes = RayNodes(folder)
    try:
        yield nodes
    finally:
        nodes.stop()
        shutil.rmtree(folder, ignore_errors=True)
