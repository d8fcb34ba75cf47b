"""A public demonstration: the app over a generated base. It keeps nobody, and nobody logs in.

``python app.py build`` makes the base, ``python app.py`` serves it at port 7860.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BASE = Path(os.environ.get("SPOTIFY_DAG_DATA", Path(__file__).resolve().parent / "base"))
USERS = 300


def main(arguments: list[str]) -> int:
    """Make the base, or serve it; return the exit status."""
    work = ["run", "--source", "synthetic", "--users", str(USERS)]
    serve = ["app", "--host", "0.0.0.0", "--port", os.environ.get("PORT", "7860")]  # noqa: S104
    settings = {
        "SPOTIFY_DAG_APP_KEEPS": "false",
        # Strangers share one small machine.
        "SPOTIFY_DAG_APP_MAX_UPLOAD_MB": "20",
        "SPOTIFY_DAG_APP_REQUESTS_PER_MINUTE": "240",
    }
    if host := os.environ.get("SPACE_HOST"):
        settings["SPOTIFY_DAG_APP_URL"] = f"https://{host}"
    command = [sys.executable, "-m", "spotify_dag", "--data", str(BASE), *(work if arguments == ["build"] else serve)]
    return subprocess.run(command, env={**os.environ, **settings}, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
