"""Weights that go to a model hub and come back: the real client, a hub on loopback that answers as documented."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
import yaml

from spotify_dag.stores.shared_weights import SharedWeightsError, read_shared, write_shared
from spotify_dag_tests.small_models import small_model

COMMIT = "a" * 40
TOKEN = "hf_only_for_tests"
PLACE = "hf:somebody/tower"


class Hub(BaseHTTPRequestHandler):
    """As much of https://huggingface.co/docs/hub/api as one upload and one download ask for."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def reply(self, content: Any, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.reply({"error": "Invalid username or password."}, 401)
        elif self.path == "/api/validate-yaml":
            front = yaml.safe_load(json.loads(body)["content"].split("---")[1])
            errors = [] if {"license", "library_name"} <= front.keys() else [{"message": "no licence or library"}]
            self.reply({"errors": errors, "warnings": []})
        elif self.path == "/api/repos/create":
            made = json.loads(body)
            name = f"{made['organization']}/{made['name']}"
            self.server.repositories.setdefault(name, {})
            self.reply({"url": f"{self.server.url}/{name}", "name": name})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", self.path):
            asked = json.loads(body)["files"]
            self.reply(
                {"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in asked]}
            )
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", self.path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.repositories[found[1]][line["value"]["path"]] = content
            self.reply({"commitUrl": f"{self.server.url}/{found[1]}/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self.reply({"error": "Not found"}, 404)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        found = re.match(r"/(?:api/models/)?([^/]+/[^/]+)/(?:revision|tree|resolve)/", path)
        files = self.server.repositories.get(found[1]) if found else None
        if files is None:
            self.reply({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        elif "/revision/" in path:
            self.reply({"id": PLACE, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]})
        elif "/tree/" in path:
            sizes = [
                {"type": "file", "path": name, "size": len(files[name]), "oid": digest(files[name])} for name in files
            ]
            self.reply(sizes)
        else:
            content = files[path.rpartition("/")[2]]
            self.reply(content, ETag=f'"{digest(content)}"', X_Repo_Commit=COMMIT)

    do_HEAD = do_GET  # noqa: N815 - as the base class asks for it


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Server(ThreadingHTTPServer):
    """The hub, and what is in it: the files of each repository."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hub)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.url = f"http://127.0.0.1:{self.server_port}"


def use_hub(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # the app, in this process, keeps offline
    # Made of the other one when the package is imported.
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        use_hub(monkeypatch, server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server
        server.shutdown()
        thread.join()


def card_of(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "config": config, "model_version": "v1", "license": "CC0-1.0", "package": "1.0", "groups": 3,
        "encoder": "e", "features": "f",
        "licences": {"listenbrainz": "CC0-1.0"}, "held_out": {"mrr": 0.75}, "metrics": {},
        "trained_on": {"users": 40, "items": 900, "sources": {"listenbrainz": 40}},
    }  # fmt: skip


def test_weights_come_back_as_they_went(hub: Server, tmp_path: Path) -> None:
    model = small_model(0)
    write_shared(PLACE, model.tensors(), card_of(model.config))
    write_shared(str(tmp_path), model.tensors(), card_of(model.config))
    assert hub.repositories == {"somebody/tower": {path.name: path.read_bytes() for path in tmp_path.iterdir()}}
    found, card = read_shared(PLACE)
    assert card["model_version"] == "v1"
    expected = model.tensors()
    assert found.tensors().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.tensors().items())
    assert np.isfinite(next(iter(found.tensors().values())).numpy()).all()


@pytest.mark.usefixtures("hub")
def test_a_repository_that_is_not_there_is_named() -> None:
    with pytest.raises(SharedWeightsError, match=r"hf:somebody/nothing cannot be read: .*404"):
        read_shared("hf:somebody/nothing")


@pytest.mark.usefixtures("hub")
def test_who_has_not_logged_in_is_told_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    model = small_model(0)
    with pytest.raises(SharedWeightsError, match=r"cannot be written: .*401.* Log in with: hf auth login") as refused:
        write_shared(PLACE, model.tensors(), card_of(model.config))
    assert "hf_of_nobody" not in str(refused.value)


def test_without_a_network_it_is_not_said_that_nothing_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(SharedWeightsError, match="hf:somebody/tower cannot be read: ") as refused:
        read_shared(PLACE)
    assert "has no" not in str(refused.value)
