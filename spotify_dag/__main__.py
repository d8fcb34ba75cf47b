"""``python -m spotify_dag``: the command line."""

from spotify_dag.cli.main import main

if __name__ == "__main__":
    main()
