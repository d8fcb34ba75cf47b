"""What locust does for `bench.app`: ask for the matches of users at random, at a fixed rate per client."""

from __future__ import annotations

import os
import random
import time

from locust import FastHttpUser, constant_throughput, task

USERS, RATE = int(os.environ["BENCH_USERS"]), float(os.environ["BENCH_RATE"])


class Listener(FastHttpUser):
    """Asks for matches."""

    wait_time = constant_throughput(RATE)

    def on_start(self) -> None:
        """Begin at a moment of one's own: else all ask at once, again and again."""
        time.sleep(random.random() / RATE)

    @task
    def matches(self) -> None:
        """Ask for the matches of somebody."""
        user = f"synthetic-{random.randrange(USERS):06d}"
        self.client.get(f"/api/v1/users/{user}/matches", name="matches")
