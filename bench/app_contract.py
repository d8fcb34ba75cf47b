"""The app against requests that schemathesis makes up, over a small world with tracks on loopback.

No answer may be a server error, of the API or of the pages. None of the API may have a status, a media type or a form
that its description does not name.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.measure import console, run

NAME = "app_contract"
CASES, QUICK_CASES = 500, 30
"""Per operation and phase; there are a dozen operations."""


def measure(quick: bool) -> dict[str, Any]:
    """Measure, print and return the figures."""
    from samples.api_requests import contract
    from samples.app_world import add_tracks, make_world

    with tempfile.TemporaryDirectory(prefix="spotify-dag-bench-") as folder:
        root = Path(folder) / "data"
        make_world(root)
        add_tracks(root)
        os.environ["SPOTIFY_DAG_N_BUCKETS"] = "2"
        from bench.app import running

        with running(root) as (url, _, _):
            found = contract(url, QUICK_CASES if quick else CASES, Path(folder))
    console.print(f"{found['cases']:,} cases, {found['cases_of_pages']:,} of pages, {found['failures']:,} failures")
    said = found.pop("said")
    if found["failures"]:
        console.print(said)
    return found


if __name__ == "__main__":
    sys.exit(bool(run(NAME, __doc__, measure)["failures"]))
