"""Dagster's daemon. It starts the process that runs are forked from before the first run comes.

Run as ``python -m spotify_dag.orchestration.dagster_internals.daemon``.
"""

from dagster._daemon.cli import main

from spotify_dag.orchestration.dagster_internals.launcher import warm_up

if __name__ == "__main__":
    warm_up()
    main()
