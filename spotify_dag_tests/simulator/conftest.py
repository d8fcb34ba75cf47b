"""Simulators that really listen, and somebody to ask them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from spotify_dag.simulator.faults_and_limits import Faults, SimulatorSettings
from spotify_dag.simulator.loopback_server import Simulator, serve

SCOPES = "playlist-read-private user-library-read user-top-read user-read-private user-read-email"
WRITING = f"{SCOPES} playlist-modify-private"
REDIRECT = "http://127.0.0.1:9999/callback"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
SECRET = ("simulator", "simulator")


@dataclass
class Client:
    """Asks one simulator; without spotipy, so that a test sees statuses, headers and bytes."""

    simulator: Simulator
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.session.trust_env = False

    def get(self, path: str, token: str | None = None, headers: dict[str, str] | None = None) -> requests.Response:
        """Get a path of the Web API (or the URL of one), as the app itself unless there is a token."""
        url = path if path.startswith("http") else f"{self.simulator.url}/v1/{path}"
        token = self.app_token if token is None else token
        return self.session.get(url, headers={"Authorization": f"Bearer {token}", **(headers or {})}, timeout=30)

    def write(self, path: str, body: Any, token: str, method: str = "POST") -> requests.Response:
        """Send JSON to a path of the Web API as a user."""
        headers = {"Authorization": f"Bearer {token}"}
        return self.session.request(method, f"{self.simulator.url}/v1/{path}", json=body, headers=headers, timeout=30)

    def json(self, path: str, token: str | None = None) -> Any:
        response = self.get(path, token)
        assert response.status_code == 200, response.text
        return response.json()

    @property
    def app_token(self) -> str:
        if not hasattr(self, "_app_token"):
            self._app_token: str = self.token({"grant_type": "client_credentials"}).json()["access_token"]
        return self._app_token

    def token(self, form: dict[str, str], auth: tuple[str, str] | None = SECRET) -> requests.Response:
        return self.session.post(f"{self.simulator.url}/api/token", data=form, auth=auth, timeout=30)

    def authorize(self, **asked: str) -> requests.Response:
        usual = {"client_id": "simulator", "response_type": "code", "redirect_uri": REDIRECT, "scope": SCOPES}
        asked = {name: value for name, value in {**usual, **asked}.items() if value}
        return self.session.get(f"{self.simulator.url}/authorize", params=asked, allow_redirects=False, timeout=30)

    def pkce(self, **asked: str) -> dict[str, str]:
        """Log in by PKCE; return the form that exchanges the code."""
        answer = self.authorize(code_challenge=CHALLENGE, code_challenge_method="S256", **asked)
        assert answer.status_code == 303, answer.text
        (code,) = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
        return {
            "grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER,
            "client_id": "simulator",
        }  # fmt: skip

    def login(self, user: str, scope: str = SCOPES) -> str:
        """Return an access token of a user."""
        return self.token(self.pkce(user=user, scope=scope), auth=None).json()["access_token"]

    def playlist_id(self, user: int, position: int = 0) -> str:
        """Return the id of a playlist a user made."""
        world = self.simulator.api.world
        return world.playlist_ids.id_of(world.own(user)[position])


def served(settings: SimulatorSettings) -> Iterator[Client]:
    with serve(settings) as simulator:
        client = Client(simulator)
        yield client
        client.session.close()


@pytest.fixture(scope="session")
def extended() -> Iterator[Client]:
    """A simulator in extended mode that no test changes."""
    yield from served(SimulatorSettings(users=60))


@pytest.fixture(scope="session")
def development() -> Iterator[Client]:
    """A simulator in development mode that no test changes."""
    yield from served(SimulatorSettings(users=60, mode="development"))


@pytest.fixture
def faulty() -> Iterator[Callable[..., Client]]:
    """Start a simulator of one's own: ``faulty(faults, **settings)``."""
    running: list[Iterator[Client]] = []

    def start(faults: Faults | None = None, **settings: Any) -> Client:
        running.append(served(SimulatorSettings(**{"users": 60, "faults": faults or Faults(), **settings})))
        return next(running[-1])

    yield start
    for simulator in running:
        next(simulator, None)
