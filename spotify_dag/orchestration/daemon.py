"""``python -m spotify_dag.orchestration.daemon``: Dagster's daemon, ready to fork runs before the first one comes."""

from dagster._daemon.cli import main

from spotify_dag.orchestration.launcher import warm_up

if __name__ == "__main__":
    warm_up()
    main()
