"""Forgetting beside everything else, and killed on the way: nobody comes back, nobody else is lost."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import polars as pl
import pytest

from spotify_dag.lifecycle.find_mentions import find_mentions
from spotify_dag.lifecycle.forget import forget
from spotify_dag.lifecycle.housekeeping import tidy
from spotify_dag.project import Project
from spotify_dag.schemas import RAW_PLAYLISTS, USER_EMBEDDINGS, USER_TASTES, USERS
from spotify_dag.settings import Settings
from spotify_dag_tests.waiting import GUARD

pytestmark = [pytest.mark.process, pytest.mark.slow]

SPAWN = multiprocessing.get_context("spawn")
PER_USER = (RAW_PLAYLISTS, USERS, USER_TASTES, USER_EMBEDDINGS)


def opened(data: Path) -> Project:
    return Project.open(Settings(data=data, n_buckets=2))


def write_what_was_read_before(data: Path, started: Event, stop: Event) -> None:
    """Write the same rows again and again, as runs do that read the sources before somebody was forgotten."""
    project = opened(data)
    index = project.user_index(project.published() or "")
    rows = {table.name: project.lake.scan(table).collect() for table in PER_USER}
    vectors = index.rows(with_vectors=True)
    while not stop.is_set():
        for table in PER_USER:
            project.lake.replace(table, [0, 1], [rows[table.name]])
        index.replace([0, 1], vectors)
        started.set()


def ask(data: Path, started: Event, stop: Event) -> None:
    """Ask for matches all the time; whatever goes wrong ends the process with an error."""
    matcher = opened(data).matcher
    while not stop.is_set():
        matcher.recommend(["synthetic-000001"], 10)
        started.set()


def keep_tidy(data: Path, started: Event, stop: Event) -> None:
    while not stop.is_set():
        tidy(opened(data))
        started.set()


def test_beside_writers_askers_and_housekeeping(project: Project) -> None:
    data, stop = project.settings.data, SPAWN.Event()
    before = {table.name: set(project.lake.scan(table).select("user_id").collect()["user_id"]) for table in PER_USER}
    workers = []
    for work in (write_what_was_read_before, ask, keep_tidy):
        started = SPAWN.Event()
        workers.append((SPAWN.Process(target=work, args=(data, started, stop)), started))
    for process, _ in workers:
        process.start()
    try:
        assert all(started.wait(GUARD) for _, started in workers)
        forgotten = [f"synthetic-{number:06d}" for number in (7, 12, 30)]
        for user in forgotten:
            assert forget(project, user).total > 0
            time.sleep(0.3)
    finally:
        stop.set()
        for process, _ in workers:
            process.join(GUARD)
    assert [process.exitcode for process, _ in workers] == [0, 0, 0]
    assert [find_mentions(project, user).counts for user in forgotten] == [{}, {}, {}]
    for table in PER_USER:
        left = project.lake.scan(table).select("user_id").collect()["user_id"]
        assert set(left) == before[table.name] - set(forgotten)
    rows = project.user_index(project.published() or "").rows()
    assert rows.height == rows["user_id"].n_unique() == 40 - len(forgotten)


def forget_when_told(data: Path, user: str, ready: Event, go: Event) -> None:
    project = opened(data)
    project.user_index(project.published() or "").rows()  # imports
    project.lake.scan(USERS).collect()
    ready.set()
    go.wait()
    forget(project, user)


def test_killed_on_the_way_it_is_finished_by_doing_it_again(project: Project) -> None:
    drawn = random.Random(0)
    data, killed = project.settings.data, 0
    users = [f"synthetic-{number:06d}" for number in range(20, 24)]
    for user in users:
        ready, go = SPAWN.Event(), SPAWN.Event()
        process = SPAWN.Process(target=forget_when_told, args=(data, user, ready, go))
        process.start()
        assert ready.wait(GUARD)
        go.set()
        time.sleep(drawn.uniform(0.02, 0.4))
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join(GUARD)
        killed += process.exitcode == -signal.SIGKILL
        if user in project.tombstones:
            forget(project, user)
            assert find_mentions(project, user).counts == {}
    assert killed
    for user in users:
        forget(project, user)
    assert [find_mentions(project, user).counts for user in users] == [{}] * len(users)
    others = pl.col("user_id").is_in(users).not_()
    assert project.lake.scan(USERS).filter(others).collect().height == 36
    assert project.user_index(project.published() or "").rows().height == 36
    assert len(project.matcher.recommend(["synthetic-000001"], 40)[1][0]) == 35
