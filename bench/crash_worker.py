"""One of the processes of `bench.crash`: adds, refreshes or forgets users, runs, or asks, until its time is up."""

from __future__ import annotations

import random
import sys
import time
from typing import Any

from bench.crash import hand_in
from spotify_dag.root import Root
from spotify_dag.settings import data_root

FORGETS = 2
"""Users who are handed in and forgotten together: some before a run took them in, some after, some in between."""
REFRESHED = 9
"""Buckets that are read again in one run: a seventh, as every day."""


def main() -> None:
    """Work; print what was done, a word and a value per line. An error ends it with status 1."""
    root, role, number, until = data_root(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    {"add": add, "run": run, "refresh": refresh, "forget": forget, "ask": ask}[role](root, number, until)


def add(root: Root, number: int, until: float) -> None:
    """Hand in new users, and some of them again."""
    turn = 0
    while time.time() < until:
        for user in hand_in(root, f"crowd-{number}-{turn // 2}", 3):
            say("added", user)
        turn += 1
        time.sleep(0.2)


def run(root: Root, number: int, until: float) -> None:
    """Bring the graph up to date, over and over."""
    from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
    from spotify_dag.orchestration.instance import open_instance

    project, definitions = opened(root)
    ran = 0
    with open_instance(project) as instance:
        while time.time() < until:
            project.inbox.requests.sweep()
            ran += len(list(bring_up_to_date(project, definitions, instance)))
    say("ran", ran)


def refresh(root: Root, number: int, until: float) -> None:
    """Read a seventh of the buckets again, over and over, as the schedule does once a day."""
    from spotify_dag.orchestration.instance import open_instance

    project, definitions = opened(root)
    drawn, refreshed = random.Random(number), 0
    job = definitions.resolve_job_def("ingest")
    with open_instance(project) as instance:
        while time.time() < until:
            first = drawn.randrange(project.lake.n_buckets - REFRESHED)
            tags = {
                "dagster/asset_partition_range_start": f"{first:02d}",
                "dagster/asset_partition_range_end": f"{first + REFRESHED - 1:02d}",
            }
            quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
            job.execute_in_process(instance=instance, tags=tags, run_config=quiet)
            refreshed += REFRESHED
    say("refreshed", refreshed)


def forget(root: Root, number: int, until: float) -> None:
    """Hand in users and forget them after a while, in which a run may or may not have begun to take them in."""
    from spotify_dag.lifecycle.forget import forget as forget_user

    project, _ = opened(root)
    drawn, turn = random.Random(number), 0
    while time.time() < until:
        users = hand_in(root, f"gone-{number}-{turn}", FORGETS)
        time.sleep(drawn.uniform(0, 6))
        for user in users:
            forget_user(project, user)
            say("forgot", user)
        turn += 1


def ask(root: Root, number: int, until: float) -> None:
    """Ask for matches of users of the base."""
    project, _ = opened(root)
    drawn, asked, matcher = random.Random(number), 0, project.matcher
    while time.time() < until:
        user = f"synthetic-{drawn.randrange(200):06d}"
        _, (matches,) = matcher.recommend([user], 10)
        if len(matches) != 10:
            raise SystemExit(f"{user} has {len(matches)} matches")
        asked += 1
    say("asked", asked)


def opened(root: Root) -> tuple[Any, Any]:
    """Return the project of a data root, and the graph."""
    from spotify_dag.definitions import build_definitions
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

    project = Project.open(Settings(data=root))
    return project, build_definitions(settings=project.settings)


def say(what: str, value: object) -> None:
    """Print one thing that was done."""
    sys.stdout.write(f"{what} {value}\n")


if __name__ == "__main__":
    main()
