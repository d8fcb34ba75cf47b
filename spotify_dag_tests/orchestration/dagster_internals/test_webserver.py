"""Pages of other sites against the Dagster UI: real requests, and the operator's own browser."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import httpx
import polars as pl
import pytest

from spotify_dag.assets.reporting import bar_chart, typed_table
from spotify_dag_tests.app.conftest import CHROMIUM, FLAGS

pytestmark = [pytest.mark.slow, pytest.mark.process]

WORKSPACE = """
import dagster as dg

@dg.asset
def listened():
    return 1

defs = dg.Definitions(assets=[listened])
"""
WIPE = 'mutation { wipeAssets(assetPartitionRanges: [{assetKey: {path: ["listened"]}}]) { __typename } }'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home of a Dagster that knows one asset, materialised with metadata that tries to be markup."""
    folder = tmp_path_factory.mktemp("ui")
    (folder / "work.py").write_text(WORKSPACE)
    (folder / "home").mkdir()
    (folder / "home" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return folder


@pytest.fixture(scope="module")
def ui(home: Path) -> Iterator[str]:
    """Address of the UI as ``spotify-dag up`` starts it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    module = "spotify_dag.orchestration.dagster_internals.webserver"
    command = [sys.executable, "-m", module, "--host", "127.0.0.1", "--port", str(port), "-f", str(home / "work.py")]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, "DAGSTER_HOME": str(home / "home")}, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        url, end = f"http://127.0.0.1:{port}", time.monotonic() + 90
        while True:
            try:
                httpx.get(f"{url}/server_info", trust_env=False)
                break
            except httpx.TransportError:
                assert time.monotonic() < end, (home / "log").read_text()
                time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)


def materialised(home: Path) -> int:
    with dg.DagsterInstance.from_config(str(home / "home")) as instance:
        return len(instance.fetch_materializations(dg.AssetKey("listened"), limit=10).records)


def record(home: Path, **metadata: Any) -> None:
    with dg.DagsterInstance.from_config(str(home / "home")) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("listened", metadata=metadata))


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 405),
        ("GET", {"Accept": "text/html"}, 405),
        ("HEAD", {}, 405),
        ("POST", {}, 415),
        ("POST", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ("POST", {"Content-Type": "text/plain; application/json"}, 415),
        ("POST", {"Content-Type": "application/json", "Origin": "https://evil.example"}, 403),
        ("POST", {"Content-Type": "application/json", "Origin": "null"}, 403),
        ("POST", {"Content-Type": "application/json", "Sec-Fetch-Site": "same-site"}, 403),
        ("POST", {"Content-Type": "application/json", "Host": "evil.example"}, 421),
        ("POST", {"Content-Type": "application/json", "Host": "127.0.0.1.evil.example:3000"}, 421),
        ("POST", {"Content-Type": "application/json", "Host": "["}, 421),
    ],
)
def test_a_mutation_of_another_site_is_refused(
    ui: str, home: Path, method: str, headers: dict[str, str], status: int
) -> None:
    record(home)
    with httpx.Client(base_url=ui, trust_env=False) as client:
        content = json.dumps({"query": WIPE}) if method == "POST" else None
        answer = client.request(method, "/graphql", params={"query": WIPE}, headers=headers, content=content)
    assert answer.status_code == status
    assert materialised(home) > 0


def test_a_mutation_of_the_ui_itself_is_done(ui: str, home: Path) -> None:
    """The same request without a foreign mark wipes: so the ones above were refused for the mark."""
    record(home)
    with httpx.Client(base_url=ui, trust_env=False, timeout=30) as client:
        answer = client.post("/graphql", json={"query": WIPE}, headers={"Origin": ui, "Sec-Fetch-Site": "same-origin"})
    assert answer.json()["data"]["wipeAssets"]["__typename"] == "AssetWipeSuccess"
    assert materialised(home) == 0


@pytest.mark.parametrize(
    ("headers", "taken"),
    [({}, True), ({"Origin": "https://evil.example"}, False), ({"Host": "evil.example"}, False)],
)
def test_subscriptions_are_for_the_ui_alone(ui: str, headers: dict[str, str], taken: bool) -> None:
    from websockets.sync.client import connect
    from websockets.typing import Origin, Subprotocol

    address = ui.removeprefix("http://")
    if not taken:
        # A library writes its own Host: the handshake is written by hand.
        lines = {"Host": address, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                 "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", **headers}  # fmt: skip
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            raw.sendall(f"GET /graphql HTTP/1.1\r\n{text}\r\n".encode())
            assert raw.recv(1_000).startswith(b"HTTP/1.1 403")
        return
    spoken = Subprotocol("graphql-ws")
    with connect(f"ws://{address}/graphql", origin=Origin(ui), subprotocols=[spoken], proxy=None) as opened:
        opened.send(json.dumps({"type": "connection_init"}))
        assert json.loads(opened.recv(10))["type"] == "connection_ack"


@contextmanager
def canary() -> Iterator[tuple[str, list[bytes]]]:
    """Listen for requests, and note what they ask for."""
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def note() -> None:
            while True:
                try:
                    visitor, _ = listening.accept()
                except OSError:
                    return
                with visitor:
                    came.append(visitor.recv(1_000))

        Thread(target=note, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/r", came
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.browser
def test_the_ui_loads_and_shows_names_as_text(ui: str, home: Path) -> None:
    """In Chromium: a name that is an image in Markdown is text, and even an image that is one is not asked for."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.is_file():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    with canary() as (url, came), playwright.sync_playwright() as running:
        image = f"![0]({url})"
        names = pl.DataFrame({"artist": [image, "<img src=x onerror=alert(1)>"], "users": [3, 4]})
        record(
            home, names=typed_table(names), chart=bar_chart(["```\n" + image, "Prince"], [1, 2]),
            unescaped=dg.MetadataValue.md(image),
        )  # fmt: skip
        browser = running.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = browser.new_page()
        page.set_default_timeout(60_000)
        sockets: list[str] = []
        ran: list[str] = []
        page.on("websocket", lambda opened: sockets.append(opened.url))
        page.on("dialog", lambda dialog: (ran.append(dialog.message), dialog.dismiss()))
        page.goto(f"{ui}/assets/listened")
        page.get_by_text("<img src=x onerror=alert(1)>").first.wait_for()
        page.wait_for_timeout(1_000)
        shown = page.inner_text("body")
        assert image in shown
        browser.close()
    assert came == []
    assert ran == []
    assert any(opened.endswith("/graphql") for opened in sockets)
