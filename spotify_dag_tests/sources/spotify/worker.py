"""A process of its own that reads a source and prints what it found: ``worker.py URL DATA USERS``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from spotify_dag.sources.spotify import SpotifySource
from spotify_dag_tests.sources.spotify.conftest import found_items, ingest, settings_for

if __name__ == "__main__":
    url, data, users = sys.argv[1:]
    found = ingest(SpotifySource(settings_for(url, Path(data)), users))
    assert found.interrupted is None, found.interrupted
    sys.stdout.write(json.dumps(found_items(found)))
