"""What is shipped beside the package: the tutorial's notebook, the hosted demo, the retraining script, the site."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
import pytest
import requests
from nbclient import NotebookClient

from spotify_dag.project import Project

REPOSITORY = Path(__file__).parents[1]
GIB = 2**30
TWO_BUCKETS = {"SPOTIFY_DAG_N_BUCKETS": "2"}
"""As small a base as there is: each bucket is files and tables of its own."""
pytestmark = [pytest.mark.slow, pytest.mark.process]


def environment(**settings: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("SPOTIFY_DAG_", "DAGSTER_"))}
    paths = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    return {**plain, "PYTHONPATH": paths, **settings}


def text_of(output: nbformat.NotebookNode) -> str:
    if output.get("name") == "stderr":  # warnings of libraries
        return ""
    return str(output.get("text") or output["data"]["text/plain"])


def test_the_notebook_runs_and_finds_matches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PYTHONPATH": environment()["PYTHONPATH"], **TWO_BUCKETS}.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(REPOSITORY / "docs" / "tutorial.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    texts = ["".join(map(text_of, cell.outputs)) for cell in notebook.cells if cell.cell_type == "code"]
    texts = [text for text in texts if text]
    assert texts[0] == "6", "rows of the file"
    stages, matches, *nothing_or_counts = texts[1:]
    assert [line.split()[0] for line in stages.splitlines()] == ["ingest", "features", "tracks", "train", "index"]
    assert matches.count("synthetic-") == 5
    assert len(nothing_or_counts) == 1, "the second run prints no stage"
    assert "export" in nothing_or_counts[0]


@contextmanager
def space(base: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Start the hosted demo as the Space does, on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(REPOSITORY / "deploy" / "space" / "app.py")]
    process = subprocess.Popen(command, env=environment(**TWO_BUCKETS, SPOTIFY_DAG_DATA=str(base), PORT=str(port)))
    try:
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.terminate()
        process.wait(30)


def test_the_hosted_demo_answers_and_keeps_nobody(project: Project) -> None:
    base = project.settings.local_data
    with space(base) as (url, process):
        until = time.monotonic() + 60
        while True:
            try:
                if requests.get(f"{url}/readyz", timeout=5).status_code == 200:
                    break
            except requests.ConnectionError:
                pass
            assert time.monotonic() < until, "it does not get ready"
            time.sleep(0.2)
        assert "Soundkin: people who listen like you" in requests.get(url, timeout=10).text
        asked = {"file": ("mine.csv", "Track Name,Artist Name(s)\nTeardrop,Massive Attack\nHunter,Björk\n")}
        refused = requests.post(f"{url}/api/v1/users", files=asked, data={"consent": "true"}, timeout=10)
        assert refused.status_code == 403
        assert "keeps nobody" in refused.json()["detail"]
        login = requests.get(f"{url}/login", allow_redirects=False, timeout=10)
        assert login.status_code == 404 or "spotify.com" not in login.headers.get("location", "")
        accepted = requests.post(f"{url}/api/v1/users", files=asked, timeout=10)
        assert accepted.status_code == 202
        events = requests.get(f"{url}{accepted.json()['events']}", timeout=60, stream=True)
        assert any(b'"matches"' in line for line in events.iter_lines())
        family = [process, *process.children(recursive=True)]
        assert sum(member.memory_info().rss for member in family) < 2 * GIB
    assert not list((base / "inbox").glob("requests/*")), "nothing handed in is kept"


def test_the_retraining_script_leaves_a_model_and_a_report(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "spotify-dag").symlink_to(Path(sys.executable).parent / "spotify-dag")
    settings = {"SOURCE": "synthetic", "FILES": "", "USERS": "40", "SPOTIFY_DAG_DATA": "data/retrained", **TWO_BUCKETS}
    script = REPOSITORY / "deploy" / "retrain.sh"
    shell = shutil.which("sh")
    assert shell is not None
    subprocess.run([shell, script], cwd=tmp_path, env=environment(**settings), check=True, capture_output=True)
    report = tmp_path / "data" / "retrained" / "report"
    trained = [stage["stage"] for stage in json.loads((report / "run.json").read_text())["materialised"]]
    assert "train" in trained
    (version,) = json.loads((report / "models.json").read_text())
    assert (tmp_path / "data" / "retrained" / "models" / version["model_version"] / "tower.safetensors").exists()


def test_the_site_builds_without_a_warning_or_a_foreign_host(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    subprocess.run(command, cwd=REPOSITORY, env=environment(NO_MKDOCS_2_WARNING="1"), check=True, capture_output=True)
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 50
    assert [page for page in pages if 'src="http' in page.read_text()] == []
    assert (
        "Return the model version, and for each user" in (tmp_path / "site" / "reference" / "python.html").read_text()
    )
