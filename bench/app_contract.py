"""The API against its own description: requests that schemathesis makes up, over a small world on loopback.

No answer may be a server error, and none may have a status, a media type or a form that the description does not name.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from bench.measure import console, describe, is_quick, machine, write_results

NAME = "app_contract"
CASES, QUICK_CASES = 500, 30
"""Per operation and phase; there are a dozen operations."""


def main() -> None:
    """Run, print and write the figures."""
    from spotify_dag_tests.app.conftest import make_world
    from spotify_dag_tests.app.contract import contract

    quick, facts = is_quick(__doc__), machine()
    console.print(f"[bold]The API against its own description[/]\n{describe(facts)}")
    with tempfile.TemporaryDirectory(prefix="spotify-dag-bench-") as folder:
        root = Path(folder) / "data"
        make_world(root)
        os.environ["SPOTIFY_DAG_N_BUCKETS"] = "2"
        from bench.app import running

        with running(root) as (url, _, _):
            found = contract(url, QUICK_CASES if quick else CASES, Path(folder))
    console.print(f"{found['cases']:,} cases, {found['failures']:,} failures")
    said = found.pop("said")
    write_results(NAME + "_quick" * quick, {"machine": facts, **found})
    if found["failures"]:
        console.print(said)
        sys.exit(1)


if __name__ == "__main__":
    main()
