"""Logging in and what tokens are good for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from spotify_dag_tests.simulator.conftest import CHALLENGE, REDIRECT, SECRET, Client

pytestmark = pytest.mark.medium  # servers on loopback, or a trained tower

USER = "synthetic-000003"


def refusal(answer: requests.Response) -> tuple[int, str, str]:
    return answer.status_code, answer.json()["error"], answer.json()["error_description"]


class TestClientCredentials:
    @pytest.mark.parametrize("in_form", [False, True])
    def test_the_app_gets_a_token_for_its_secret(self, extended: Client, in_form: bool) -> None:
        form = {"grant_type": "client_credentials"}
        if in_form:
            form |= {"client_id": SECRET[0], "client_secret": SECRET[1]}
        token = extended.token(form, auth=None if in_form else SECRET).json()
        assert (token["token_type"], token["expires_in"]) == ("Bearer", 3600)
        assert not {"refresh_token", "scope"} & set(token)
        assert extended.get("users/synthetic-000000", token["access_token"]).status_code == 200

    @pytest.mark.parametrize(
        ("auth", "description"),
        [(("nobody", "simulator"), "Invalid client"), (("simulator", "wrong"), "Invalid client secret"),
         (("simulator", ""), "Invalid client secret"), (None, "Invalid client")],
    )  # fmt: skip
    def test_nobody_else_does(self, extended: Client, auth: Any, description: str) -> None:
        answer = extended.token({"grant_type": "client_credentials"}, auth)
        assert refusal(answer) == (400, "invalid_client", description)

    def test_a_garbled_secret_is_a_wrong_one(self, extended: Client) -> None:
        answer = requests.post(
            f"{extended.simulator.url}/api/token", data={"grant_type": "client_credentials"},
            headers={"Authorization": "Basic é"[:-1] + "%%%"}, timeout=30,
        )  # fmt: skip
        assert refusal(answer) == (400, "invalid_client", "Invalid client")

    def test_other_grants_are_unknown(self, extended: Client) -> None:
        for form in ({}, {"grant_type": "password"}):
            assert refusal(extended.token(form))[:2] == (400, "unsupported_grant_type")


class TestAuthorize:
    def test_a_page_asks_who_is_there(self, extended: Client) -> None:
        page = extended.authorize(state='"><script>')
        assert page.status_code == 200
        assert 'name="user" value="synthetic-000000"' in page.text
        assert "<script>" not in page.text

    def test_agreeing_leads_back_with_the_state(self, extended: Client) -> None:
        answer = extended.authorize(user=USER, state="a b&c", redirect_uri=f"{REDIRECT}?x=1")
        target = urlsplit(answer.headers["location"])
        query = parse_qs(target.query)
        assert answer.status_code == 303
        assert f"{target.scheme}://{target.netloc}{target.path}" == REDIRECT
        assert (query["state"], query["x"], set(query)) == (["a b&c"], ["1"], {"state", "x", "code"})

    def test_refusing_leads_back_without_a_code(self, extended: Client) -> None:
        answer = extended.authorize(error="access_denied", state="s")
        assert parse_qs(urlsplit(answer.headers["location"]).query) == {"error": ["access_denied"], "state": ["s"]}

    @pytest.mark.parametrize(
        "asked",
        [
            {"client_id": "nobody"},
            {"redirect_uri": "http://localhost:9999/callback"},
            {"redirect_uri": "http://127.0.0.1.example.org/callback"},
            {"redirect_uri": "http://example.org/callback"},
            {"redirect_uri": ""},
            {"response_type": "token"},
            {"code_challenge": CHALLENGE, "code_challenge_method": "plain"},
            {"code_challenge": CHALLENGE},
            {"user": "synthetic-000060"},
        ],
    )
    def test_wrong_requests_lead_nowhere(self, extended: Client, asked: dict[str, str]) -> None:
        answer = extended.authorize(**{"user": USER, **asked})
        assert answer.status_code == 400
        assert "location" not in answer.headers

    @pytest.mark.parametrize("redirect", ["https://example.org/callback", "http://[::1]:8080/callback"])
    def test_safe_redirects_are_taken(self, extended: Client, redirect: str) -> None:
        assert extended.authorize(user=USER, redirect_uri=redirect).headers["location"].startswith(f"{redirect}?code=")


class TestCode:
    def test_pkce_needs_no_secret(self, extended: Client) -> None:
        token = extended.token(extended.pkce(user=USER), auth=None).json()
        assert extended.json("me", token["access_token"])["id"] == USER
        assert set(token["scope"].split()) >= {"playlist-read-private", "user-top-read"}

    def test_a_code_works_once(self, extended: Client) -> None:
        form = extended.pkce(user=USER)
        assert extended.token(form, auth=None).status_code == 200
        assert refusal(extended.token(form, auth=None)) == (400, "invalid_grant", "Invalid authorization code")

    @pytest.mark.parametrize(
        ("change", "description"),
        [
            ({"code": "invented"}, "Invalid authorization code"),
            ({"code_verifier": "w" * 64}, "code_verifier was incorrect"),
            ({"code_verifier": ""}, "code_verifier was incorrect"),
            ({"redirect_uri": "http://127.0.0.1:9998/callback"}, "Invalid redirect URI"),
        ],
    )
    def test_a_wrong_exchange_is_refused_and_spends_nothing(
        self, extended: Client, change: dict[str, str], description: str
    ) -> None:
        form = extended.pkce(user=USER)
        assert refusal(extended.token({**form, **change}, auth=None)) == (400, "invalid_grant", description)
        assert extended.token(form, auth=None).status_code == 200

    def test_without_pkce_the_secret_is_needed(self, extended: Client) -> None:
        (code,) = parse_qs(urlsplit(extended.authorize(user=USER).headers["location"]).query)["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "client_id": "simulator"}
        assert refusal(extended.token(form, auth=None))[1] == "invalid_client"
        token = extended.token(form).json()
        again = extended.token({"grant_type": "refresh_token", "refresh_token": token["refresh_token"]})
        assert "refresh_token" not in again.json(), "the old one stays good"
        assert extended.json("me", again.json()["access_token"])["id"] == USER
        without = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"], "client_id": "simulator"}
        assert refusal(extended.token(without, auth=None))[1] == "invalid_client"


class TestRefresh:
    @staticmethod
    def refresh(client: Client, token: str) -> requests.Response:
        form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "simulator"}
        return client.token(form, auth=None)

    def test_pkce_replaces_the_refresh_token(self, extended: Client) -> None:
        first = extended.token(extended.pkce(user=USER), auth=None).json()
        second = self.refresh(extended, first["refresh_token"]).json()
        assert extended.json("me", second["access_token"])["id"] == USER
        assert second["scope"] == first["scope"]
        revoked = (400, "invalid_grant", "Refresh token revoked")
        assert refusal(self.refresh(extended, first["refresh_token"])) == revoked
        assert self.refresh(extended, second["refresh_token"]).status_code == 200

    def test_refreshing_does_not_prolong_a_login(self, extended: Client) -> None:
        issuer = extended.simulator.api.issuer
        tokens = [extended.token(extended.pkce(user=USER), auth=None).json()["refresh_token"]]
        tokens += [self.refresh(extended, tokens[0]).json()["refresh_token"]]
        grants = [issuer.grant(token, "refresh") for token in tokens]
        assert {(grant.login_at, grant.expires_at - grant.login_at) for grant in grants} == {
            (grants[0].login_at, 183 * 86_400)
        }
        late = issuer.sign(replace(grants[1], expires_at=time.time() - 1))
        assert refusal(self.refresh(extended, late)) == (400, "invalid_grant", "Refresh token expired")
        assert self.refresh(extended, tokens[1]).status_code == 200

    def test_an_access_token_is_no_refresh_token(self, extended: Client) -> None:
        token = extended.token(extended.pkce(user=USER), auth=None).json()
        assert refusal(self.refresh(extended, token["access_token"]))[1] == "invalid_grant"
        assert extended.get("me", token["refresh_token"]).status_code == 401

    def test_tokens_outlive_a_restart(self, faulty: Callable[..., Client]) -> None:
        token = faulty().login(USER)
        assert faulty().json("me", token)["id"] == USER
        assert faulty(seed=1).get("me", token).status_code == 401


class TestAccess:
    @pytest.mark.parametrize(
        ("header", "message"),
        [
            ("", "No token provided"),
            ("Bearer ", "No token provided"),
            ("Basic c2ltdWxhdG9yOnNpbXVsYXRvcg==", "No token provided"),
            ("Bearer invented", "Invalid access token"),
            ("Bearer a.b", "Invalid access token"),
        ],
    )
    def test_without_a_token_nothing_is_told(self, extended: Client, header: str, message: str) -> None:
        answer = requests.get(f"{extended.simulator.url}/v1/me", headers={"Authorization": header}, timeout=30)
        assert (answer.status_code, answer.json()["error"]["message"]) == (401, message)

    def test_a_forged_token_is_none(self, extended: Client) -> None:
        body, _, signature = extended.login(USER).partition(".")
        forged = f"{body[:-4]}AAAA.{signature}"
        assert extended.get("me", forged).status_code == 401

    def test_access_tokens_expire(self, extended: Client) -> None:
        issuer = extended.simulator.api.issuer
        grant = issuer.grant(extended.login(USER), "access")
        assert grant.expires_at - time.time() == pytest.approx(3600, abs=60)
        late = issuer.sign(replace(grant, expires_at=time.time() - 1))
        assert extended.get("me", late).json()["error"]["message"] == "The access token expired"

    def test_a_user_can_take_everything_back(self, faulty: Callable[..., Client]) -> None:
        client = faulty()
        token = client.token(client.pkce(user=USER), auth=None).json()
        other = client.login("synthetic-000004")
        requests.post(f"{client.simulator.url}/simulator/users/{USER}/revoke", timeout=30)
        assert client.get("me", token["access_token"]).status_code == 401
        assert refusal(TestRefresh.refresh(client, token["refresh_token"]))[2] == "Refresh token revoked"
        assert client.get("me", other).status_code == 200
        assert client.get("me", client.login(USER)).status_code == 200
