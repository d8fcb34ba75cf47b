"""A small world whose model nobody trained, served by a real server on loopback."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from samples.app_world import WORLD, add_tracks, make_world
from spotify_dag.app.asgi import Server, create_app
from spotify_dag.app.texts import language_of, texts_in
from spotify_dag.project import Project
from spotify_dag.settings import Settings
from spotify_dag.simulator.faults_and_limits import SimulatorSettings
from spotify_dag.simulator.loopback_server import Simulator, serve
from spotify_dag_tests.conftest import made_once
from spotify_dag_tests.waiting import until

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
DESKTOP, PHONE = {"width": 1200, "height": 860}, {"width": 390, "height": 780}


def exportify(artists: list[str], titles: list[str] | None = None) -> bytes:
    """Return a playlist as Exportify writes it, a row per artist."""
    head = "Track URI,Track Name,Album Name,Artist Name(s),Release Date,Popularity,Explicit\n"
    rows = [
        f'spotify:track:{place:022d},"{(titles or artists)[place].replace(chr(34), chr(34) * 2)}",Album,'
        f'"{artist.replace(chr(34), chr(34) * 2)}",19{90 + place % 10}-01-01,50,false\n'
        for place, artist in enumerate(artists)
    ]
    return (head + "".join(rows)).encode()


@dataclass
class Served:
    """An app that listens, and a client without cookies of its own."""

    url: str
    project: Project
    service: Any
    client: httpx.Client

    def follow(self, answer: httpx.Response) -> tuple[str, dict[str, Any], list[str]]:
        """Follow what was begun; return how it ended, with what, and the stages on the way."""
        import json

        assert answer.status_code == 202, answer.text
        with self.client.stream("GET", answer.json()["events"]) as stream:
            told = stream.read().decode()
        # What begins with a colon is a comment, sent now and then while there is nothing to tell.
        blocks = [block for block in told.strip().split("\n\n") if not block.startswith(":")]
        events = [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]
        data = [(event["event"], json.loads(event["data"])) for event in events]
        return *data[-1], [found["stage"] for name, found in data if name == "progress"]


@contextmanager
def serving(project: Project, *, pages: bool = False, wait: bool = True) -> Iterator[Served]:
    """Serve the app of a data root in a thread."""
    app = create_app(project, pages=pages)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = Server(app, project)
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            until(lambda: server.started and (not wait or client.get("/readyz").status_code == 200))
            yield Served(url, project, app.state.service, client)
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data root of 30 users, with a model that answers and another one."""
    return made_once(tmp_path_factory, "app", lambda folder: make_world(folder / "data")) / "data"


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    """A Spotify whose first 30 users are those of the world."""
    with serve(SimulatorSettings(**{**WORLD, "users": 40})) as running:
        yield running


@pytest.fixture(scope="session")
def connected(simulator: Simulator) -> dict[str, Any]:
    """Settings of an app that reads the simulated Spotify, and lets tests ask as often as they like."""
    return {
        "spotify_api_url": f"{simulator.url}/v1", "spotify_auth_url": simulator.url,
        "spotify_client_id": "simulator", "spotify_client_secret": "simulator", "n_buckets": 2,
        "listenbrainz_api_url": simulator.url,
        "app_connections_per_client": 1_000, "app_requests_per_minute": 1_000_000,
        "app_newcomers_per_minute": 100_000, "app_max_upload_mb": 2,
    }  # fmt: skip


@pytest.fixture(scope="session")
def served(world: Path, connected: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The app with its pages, which tests share: they may add to it, and take nothing away."""
    data = tmp_path_factory.mktemp("served") / "data"
    shutil.copytree(world, data)
    with serving(Project.open(Settings(data=data, **connected)), pages=True) as running:
        running.service.newcomers.warm(running.service.serving.snapshot())
        yield running


@pytest.fixture(scope="session")
def with_tracks(world: Path, connected: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The app with its pages over the same world, with tracks."""

    def make(folder: Path) -> None:
        shutil.copytree(world, folder / "data")
        add_tracks(folder / "data")

    data = made_once(tmp_path_factory, "app-tracks", make) / "data"
    with serving(Project.open(Settings(data=data, **connected)), pages=True) as running:
        yield running


@pytest.fixture
def fresh(world: Path, connected: dict[str, Any], tmp_path: Path) -> Callable[..., Any]:
    """Serve a copy of the world: ``with fresh(setting=…) as served``."""

    def start(*, wait: bool = True, pages: bool = False, **settings: Any) -> Any:
        data = tmp_path / f"data-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(world, data)
        return serving(Project.open(Settings(data=data, **{**connected, **settings})), wait=wait, pages=pages)

    return start


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser that really runs; its pages load nothing from anywhere else."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.is_file():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, served: Served) -> Iterator[Callable[..., Any]]:
    """Open pages as somebody new; afterwards, no script of a name ran, and nothing was asked for elsewhere."""
    contexts, wrong = [], []

    def open_page(
        path: str = "/", *, size: dict[str, int] = DESKTOP, dark: bool = False, served: Served = served,
        locale: str = "en-US",
    ) -> Any:  # fmt: skip
        colours: Any = "dark" if dark else "light"
        context = chromium.new_context(viewport=size, color_scheme=colours, accept_downloads=True, locale=locale)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("dialog", lambda dialog: (wrong.append(f"a script ran: {dialog.message}"), dialog.dismiss()))
        page.on("pageerror", lambda error: wrong.append(f"an error of the page: {error}"))
        page.on("request", lambda asked: None if "127.0.0.1" in asked.url or asked.url.startswith(("data:", "blob:"))
                else wrong.append(f"asked for {asked.url}"))  # fmt: skip
        page.goto(served.url + path)
        page.get_by_role("tab", name=texts_in(language_of(locale))("find")).wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
