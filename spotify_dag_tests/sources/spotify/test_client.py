"""Every way an answer can fail has one name, an end, and no secret in it."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import spotipy  # noqa: F401  (loading it takes longer than some deadlines here)

from spotify_dag.sources.spotify.client import SpotifyClient
from spotify_dag.sources.spotify.spotify_errors import (
    GoneError,
    MalformedError,
    NotPermittedError,
    QuotaExhaustedError,
    RateLimitedError,
    SpotifyError,
    UnreachableError,
)
from spotify_dag.sources.spotify.store import Database, Ledger
from spotify_dag.sources.spotify.tokens import Tokens
from spotify_dag_tests.sources.spotify.conftest import raw_server, response, settings_for
from spotify_dag_tests.waiting import GUARD

pytestmark = pytest.mark.medium  # servers on loopback, or a trained tower

TOKEN = b'{"access_token": "bearer-of-the-test", "token_type": "Bearer", "expires_in": 3600}'
PAGE = json.dumps({"items": [{"id": "p1"}], "total": 1, "next": None}).encode()
Answer = Callable[[socket.socket, bytes], None]


def once(*answers: bytes) -> tuple[Answer, list[bytes]]:
    """Return a server's side: a token, then ``answers`` in turn, the last one for ever; and the requests it got."""
    requests: list[bytes] = []

    def answer(connection: socket.socket, request: bytes) -> None:
        if b"/api/token" in request.split(b"\r\n")[0]:
            connection.sendall(response(TOKEN, Content_Type="application/json"))
            return
        requests.append(request)
        connection.sendall(answers[min(len(requests), len(answers)) - 1])

    return answer, requests


@contextmanager
def client_of(answer: Answer, data: Path, **options: Any) -> Iterator[SpotifyClient]:
    with raw_server(answer) as url:
        settings = settings_for(url, data, **{"spotify_deadline": 4, "spotify_timeout": 1, **options})
        ledger = Ledger(Database(data / "state.sqlite"), settings.spotify_daily_budget)
        client = SpotifyClient(settings, ledger, Tokens(settings))
        try:
            yield client
        finally:
            client.stop()


def refusal(status: str, message: Any = "Because.", reason: str | None = None, **headers: str) -> bytes:
    error = {"status": int(status[:3]), "message": message, **({"reason": reason} if reason else {})}
    return response(json.dumps({"error": error}).encode(), status, **headers)


class TestErrors:
    @pytest.mark.parametrize(
        ("answer", "kind", "message"),
        [
            (refusal("403 Forbidden"), NotPermittedError, r"to read the playlists of 'me' \(status 403: Because.\)"),
            (response(b"Active premium subscription required for the owner of the app", "403 Forbidden"),
             NotPermittedError, "wants the owner of the app to have Spotify Premium"),
            (response(b'{"error": "nope"}', "403 Forbidden"), NotPermittedError, "status 403: nope"),
            (response(b'["nope"]', "403 Forbidden"), NotPermittedError, "status 403"),
            (response(b"", "403 Forbidden"), NotPermittedError, "status 403"),
            (refusal("404 Not Found"), GoneError, "does not know the playlists of 'me'"),
            (refusal("400 Bad Request"), GoneError, "does not know"),
            (refusal("410 Gone"), GoneError, "does not know"),
            (refusal("401 Unauthorized"), NotPermittedError, "SPOTIFY_DAG_SPOTIFY_CLIENT_ID"),
            (refusal("429 Too Many Requests", Retry_After="86400"), RateLimitedError, r"86,400 s.* Resume after 20"),
            (refusal("429 Too Many", reason="QUOTA_EXCEEDED", Retry_After="50000"), QuotaExhaustedError, "quota"),
            (refusal("429 Too Many Requests", reason="QUOTA_EXCEEDED"), QuotaExhaustedError, "quota"),
            (response(b"", "429 Too Many Requests", Retry_After="1e308"), RateLimitedError, "604,800 s"),
        ],
    )  # fmt: skip
    def test_what_is_final_is_asked_once(
        self, tmp_path: Path, answer: bytes, kind: type[SpotifyError], message: str
    ) -> None:
        serve, requests = once(answer)
        with client_of(serve, tmp_path) as client, pytest.raises(kind, match=message) as error:
            client.playlists("me", 0, None)
        assert type(error.value) is kind
        # Only a refused token is tried a second time, with a new one.
        assert len(requests) == (2 if b"401" in answer else 1)

    @pytest.mark.parametrize(
        ("answer", "kind", "message"),
        [
            (refusal("500 Internal Server Error"), UnreachableError, "status 500"),
            (refusal("502 Bad Gateway"), UnreachableError, "status 502"),
            (refusal("503 Service Unavailable", Retry_After="90000"), UnreachableError, "status 503"),
            (refusal("520 Whatever"), UnreachableError, "status 520"),
            (response(b""), MalformedError, "no JSON"),
            (response(b"", "204 No Content"), MalformedError, "no JSON"),
            (response(b"<!doctype html><title>Sorry</title>"), MalformedError, "no JSON"),
            (response(PAGE[:9]), MalformedError, "no JSON"),
            (response(b'{"items": {}}'), MalformedError, "no list of items"),
            (response(b"[" * 100_000), MalformedError, "nested too deeply|no JSON"),
            (response(b"", "302 Found", Location="https://example.org/v1/me"), MalformedError, "no JSON"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 900000000\r\n\r\n" + b"x" * 9_000_000,
             MalformedError, "8,388,608 bytes"),
        ],
    )  # fmt: skip
    def test_what_may_pass_is_tried_again_until_the_time_is_up(
        self, tmp_path: Path, answer: bytes, kind: type[SpotifyError], message: str
    ) -> None:
        serve, requests = once(answer)
        with client_of(serve, tmp_path, spotify_deadline=1) as client, pytest.raises(kind, match=message):
            client.playlists("me", 0, None)
        assert len(requests) > 1

    @pytest.mark.parametrize(
        "answer",
        [
            refusal("503 Service Unavailable"), response(b""), refusal("429 Too Many Requests", Retry_After="0"),
            refusal("429 Too Many Requests", Retry_After="soon"), refusal("401 Unauthorized"), b"",
        ],
    )  # fmt: skip
    def test_what_passes_is_not_noticed(self, tmp_path: Path, answer: bytes) -> None:
        serve, requests = once(answer, response(PAGE))
        if not answer:

            def serve(connection: socket.socket, request: bytes, normal: Answer = serve) -> None:
                if b"/api/token" not in request and not requests:
                    requests.append(request)
                    raise OSError  # hang up
                normal(connection, request)

        with client_of(serve, tmp_path) as client:
            assert client.playlists("me", 0, None).entries == [{"id": "p1"}]
        assert len(requests) == 2

    def test_a_short_wait_is_kept_and_a_long_one_ends_the_call_at_once(self, tmp_path: Path) -> None:
        serve, _ = once(refusal("429 Too Many Requests", Retry_After="1"), response(PAGE))
        begun = time.monotonic()
        with client_of(serve, tmp_path) as client:
            client.playlists("me", 0, None)
        assert time.monotonic() - begun >= 1
        serve, requests = once(refusal("429 Too Many Requests", Retry_After="31"))
        with client_of(serve, tmp_path, spotify_deadline=120) as client:
            for _ in range(3):
                with pytest.raises(RateLimitedError):
                    client.playlists("me", 0, None)
        assert len(requests) == 1  # each waiting thread asks again

    def test_nobody_listens(self, tmp_path: Path) -> None:
        with raw_server(lambda *_: None) as url:
            pass
        settings = settings_for(url, tmp_path, spotify_deadline=1)
        client = SpotifyClient(settings, Ledger(Database(tmp_path / "x.sqlite"), 9), Tokens(settings))
        with pytest.raises(UnreachableError, match=r"no access token"):
            client.playlists("me", 0, None)


class TestEndpoints:
    @pytest.mark.parametrize("refused", [refusal("403 Forbidden"), refusal("404 Not Found")])
    def test_where_the_new_name_is_refused_the_old_one_is_used(self, tmp_path: Path, refused: bytes) -> None:
        serve, requests = once(refused, response(PAGE))
        with client_of(serve, tmp_path) as client:
            for _ in range(3):
                assert client.items("p1", 0, None).entries == [{"id": "p1"}]
        paths = [request.split(b"?")[0] for request in requests]
        assert paths == [b"GET /v1/playlists/p1/items", *[b"GET /v1/playlists/p1/tracks"] * 3]

    def test_where_both_are_refused_the_first_refusal_counts(self, tmp_path: Path) -> None:
        serve, requests = once(refusal("404 Not Found"), refusal("403 Forbidden"))
        with client_of(serve, tmp_path) as client, pytest.raises(GoneError, match=r"playlist 'p1'"):
            client.items("p1", 0, None)
        assert len(requests) == 2


class TestPremium:
    def test_where_no_token_is_given_id_and_secret_are_not_blamed(self, tmp_path: Path) -> None:
        body = b'{"error": "invalid_request", "error_description": "Active premium subscription required"}'

        def refuse(connection: socket.socket, request: bytes) -> None:
            connection.sendall(response(body, "403 Forbidden", Content_Type="application/json"))

        with client_of(refuse, tmp_path) as client, pytest.raises(NotPermittedError) as refused:
            client.playlists("anna", 0, None)
        assert "Id and secret are right" in str(refused.value)
        assert "CLIENT_SECRET" not in str(refused.value)

    @pytest.mark.parametrize(
        ("said", "told"),
        [
            ("word " * 40, "word " * 23 + "word …"),
            ("x" * 200, "x" * 120 + " …"),
            ("short", "short"),
        ],
    )
    def test_what_spotify_says_is_cut_between_words(self, tmp_path: Path, said: str, told: str) -> None:
        serve, _ = once(response(json.dumps({"error": {"message": said}}).encode(), "403 Forbidden"))
        with client_of(serve, tmp_path) as client, pytest.raises(NotPermittedError) as refused:
            client.playlists("anna", 0, None)
        assert refused.value.said == f"status 403: {told}"


class TestDeadlines:
    @pytest.mark.parametrize("part", ["head", "body", "nothing"])
    def test_a_drip_ends(self, tmp_path: Path, part: str) -> None:
        """A byte every 100 ms, for ever, is no answer, although each arrives well within the timeout of a read."""

        def drip(connection: socket.socket, request: bytes) -> None:
            if b"/api/token" in request.split(b"\r\n")[0]:
                connection.sendall(response(TOKEN))
                return
            if part == "body":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            elif part == "head":
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
            end = time.monotonic() + GUARD
            while time.monotonic() < end:
                if part != "nothing":
                    connection.sendall(b"x")
                time.sleep(0.1)

        begun = time.monotonic()
        with client_of(drip, tmp_path, spotify_timeout=0.7, spotify_deadline=2) as client:
            with pytest.raises(UnreachableError):
                client.playlists("me", 0, None)
            assert time.monotonic() - begun < GUARD / 5

    def test_the_end_of_a_call_is_the_end_of_its_request(self, tmp_path: Path) -> None:
        def hang(connection: socket.socket, request: bytes) -> None:
            if b"/api/token" in request.split(b"\r\n")[0]:
                connection.sendall(response(TOKEN))
            else:
                time.sleep(GUARD)

        begun = time.monotonic()
        with client_of(hang, tmp_path, spotify_timeout=GUARD, spotify_deadline=1) as client:
            with pytest.raises(UnreachableError, match=r"too slow"):
                client.playlists("me", 0, None)
            assert time.monotonic() - begun < GUARD / 5

    def test_stopping_ends_what_is_under_way(self, tmp_path: Path) -> None:
        def hang(connection: socket.socket, request: bytes) -> None:
            if b"/api/token" in request.split(b"\r\n")[0]:
                connection.sendall(response(TOKEN))
                return
            client.stop()
            time.sleep(GUARD)

        begun = time.monotonic()
        with client_of(hang, tmp_path, spotify_timeout=GUARD, spotify_deadline=GUARD) as client:
            with pytest.raises(UnreachableError):
                client.playlists("me", 0, None)
            assert time.monotonic() - begun < GUARD / 5


class TestSecrets:
    def test_the_token_is_sent_to_the_configured_host_only(self, tmp_path: Path) -> None:
        stolen: list[bytes] = []
        with raw_server(lambda _, request: stolen.append(request)) as elsewhere:
            page = json.dumps({"items": [{"id": "p1"}], "total": 2, "next": f"{elsewhere}/v1/me"}).encode()
            last = json.dumps({"items": [], "total": 1, "next": None}).encode()
            away = response(b"", "307 Temporary Redirect", Location=f"{elsewhere}/v1/me")
            serve, requests = once(response(page), away, response(last))
            with client_of(serve, tmp_path) as client:
                assert client.playlists("me", 0, None).next
                assert client.playlists("me", 1, None).entries == []
        assert len(requests) == 3
        assert all(b"bearer-of-the-test" in request for request in requests)
        assert stolen == []

    @pytest.mark.parametrize(
        ("user", "path"),
        [("a#b", b"/v1/users/a%23b/playlists?"), ("x/../../me", b"/v1/users/x%2F..%2F..%2Fme/playlists?")],
    )  # fmt: skip
    def test_ids_are_quoted(self, tmp_path: Path, user: str, path: bytes) -> None:
        serve, requests = once(response(PAGE))
        with client_of(serve, tmp_path) as client:
            client.playlists(user, 0, None)
        assert requests[0].startswith(b"GET " + path)

    def test_no_log_and_no_error_holds_a_token_or_secret(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        caplog.set_level(logging.DEBUG)
        shown = []
        for answer in (refusal("403 Forbidden"), refusal("500 Oops"), response(b""), refusal("401 Unauthorized")):
            serve, _ = once(answer)
            with client_of(serve, tmp_path, spotify_deadline=1, spotify_client_secret="hush-hush") as client:
                with pytest.raises(SpotifyError) as error:
                    client.playlists("me", 0, None)
                shown += [repr(error.value), str(error.value), repr(error.value.__cause__), repr(vars(error.value))]
        serve, _ = once(response(PAGE))
        with client_of(serve, tmp_path, spotify_client_secret="hush-hush") as client:
            client.playlists("me", 0, None)
        everything = "\n".join([*shown, caplog.text, *capfd.readouterr()])
        assert "status 403" in everything
        for secret in ("bearer-of-the-test", "hush-hush", "c2ltdWxhdG9yOmh1c2gtaHVzaA"):
            assert secret not in everything
