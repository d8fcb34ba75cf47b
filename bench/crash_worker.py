"""One of the processes of `bench.crash`: adds users, brings the graph up to date, or asks, until its time is up."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from bench.crash import hand_in


def main() -> None:
    """Work; print the users added, or how many questions were answered. An error ends it with status 1."""
    root, role, number, until = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    {"add": add, "run": run, "ask": ask}[role](root, number, until)


def add(root: Path, number: int, until: float) -> None:
    """Hand in new users, and some of them again."""
    turn = 0
    while time.time() < until:
        for user in hand_in(root, f"crowd-{number}-{turn // 2}", 3):
            sys.stdout.write(f"{user}\n")
        turn += 1
        time.sleep(0.2)


def run(root: Path, number: int, until: float) -> None:
    """Bring the graph up to date, over and over."""
    from spotify_dag.definitions import build_definitions
    from spotify_dag.orchestration.run import bring_up_to_date, open_instance
    from spotify_dag.resources.project import Project
    from spotify_dag.settings import Settings

    project = Project.open(Settings(data=root))
    definitions = build_definitions(settings=project.settings)
    with open_instance(project) as instance:
        while time.time() < until:
            project.inbox.requests.sweep()
            list(bring_up_to_date(project, definitions, instance))


def ask(root: Path, number: int, until: float) -> None:
    """Ask for matches of users of the base."""
    from spotify_dag.resources.project import Project
    from spotify_dag.settings import Settings

    drawn, asked = random.Random(number), 0
    matcher = Project.open(Settings(data=root)).matcher
    while time.time() < until:
        user = f"synthetic-{drawn.randrange(200):06d}"
        _, (matches,) = matcher.recommend([user], 10)
        if len(matches) != 10:
            raise SystemExit(f"{user} has {len(matches)} matches")
        asked += 1
    sys.stdout.write(f"{asked}\n")


if __name__ == "__main__":
    main()
