"""Everything that can be configured, in one place. Nothing else reads the environment."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PlainSerializer, PlainValidator, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from spotify_dag.root import SCHEME, ObjectPath, Root, RootError

UNSAFE = frozenset("%[]*?#;\\\n\r\t")
"""Not in the path of a data root: to Delta, LanceDB, DuckDB or SQLite these stand for other letters, files, options."""


def data_root(value: Any) -> Root:
    """Return the root that a text names: the absolute path of a folder, or a place in object storage.

    Raises
    ------
    ValueError
        If it can be neither.
    """
    if str(value).lower().startswith(SCHEME) or isinstance(value, ObjectPath):
        try:
            return ObjectPath.parse(str(value))
        except RootError as error:
            raise ValueError(str(error)) from error
    if scheme := re.match(r"[a-z][a-z0-9+.-]+:/", str(value), re.IGNORECASE):
        raise ValueError(f"{scheme[0]}/ is neither a folder of this machine nor s3://BUCKET/PREFIX")
    path = Path(str(value)).expanduser().resolve()
    if unsafe := UNSAFE.intersection(str(path)):
        raise ValueError(
            f"{path} has {' and '.join(map(repr, sorted(unsafe)))} in it, which stands for something else to what "
            "writes there; choose another folder"
        )
    return path


class Settings(BaseSettings):
    """Settings of one installation, from ``SPOTIFY_DAG_*`` variables. They are the same for all users."""

    model_config = SettingsConfigDict(env_prefix="SPOTIFY_DAG_", extra="ignore", populate_by_name=True)

    data: Annotated[Root, PlainValidator(data_root), PlainSerializer(str, when_used="json")] = Field(
        Path("data"),
        description="Root of everything generated: lake, vectors, models, inbox. A folder, or `s3://BUCKET/PREFIX`",
    )
    local: Path | None = Field(
        None,
        description="Folder for what stays on one machine: uploads, logins, mirrors of services, Dagster's state; "
        "default: the data root. Must be set for a data root in object storage",
    )
    n_buckets: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="Number of user buckets of a new data root; default: 64. A data root remembers it; more later with "
        "spotify-dag rebucket",
    )
    encoder: str | None = Field(
        None,
        description="Sentence-transformer: a hub name or a local folder; default: the installed all-MiniLM-L6-v2",
    )
    profiles_count: int | None = Field(None, ge=1, description="At most this many users of each source; default: all")
    playlists_count: int | None = Field(None, ge=1, description="At most this many playlists per user; default: all")
    top_artist_count: int = Field(50, ge=1, description="Most frequent artists that make the artist embedding")
    seed: int = Field(0, ge=0, description="Seed of training")
    train_on_spotify: bool = Field(
        False, description="Train on users whose source is the Spotify Web API. Its terms forbid that by default"
    )
    train_users: int = Field(20_000, ge=2, description="At most this many users are trained on")
    training_preset: Literal["default", "seed-2025"] = Field(
        "default",
        description="default: with the settings that spotify-dag tune found, if any. seed-2025: as the system this "
        "project grew out of. For one training: spotify-dag run --train --preset",
    )
    mlflow_uri: str | None = Field(
        None, description="Another MLflow for the model registry: a server or a database; default: under the data root"
    )

    spotify_client_id: str | None = Field(None, description="Client id of the app at developer.spotify.com")
    spotify_client_secret: SecretStr | None = Field(
        None, description="Secret of the app; not needed to read logged-in users"
    )
    spotify_api_url: str = Field("https://api.spotify.com/v1", description="Root of the Web API, or of a simulator")
    spotify_auth_url: str = Field("https://accounts.spotify.com", description="Root of the service that gives tokens")
    spotify_concurrency: int = Field(4, ge=1, le=32, description="Requests to Spotify that are open at one time")
    spotify_timeout: float = Field(30, gt=0, le=600, description="Seconds one request may take in all")
    spotify_deadline: float = Field(
        120, gt=0, le=3600, description="Seconds one call may take with all its retries and waits"
    )
    spotify_max_wait: float = Field(
        30,
        ge=0,
        le=600,
        description="Longest Retry-After, in seconds, that is waited for; at a longer one the run ends",
    )
    spotify_daily_budget: int = Field(100_000, ge=1, description="At most this many requests in any 24 hours")
    spotify_artist_age_days: float = Field(30, gt=0, description="Artists are asked for again after this many days")
    spotify_refresh_hours: float = Field(
        168,
        gt=0,
        description="Users are read again once in this many hours, a seventh of the buckets at a time; or when the "
        "source is named again",
    )
    spotify_followed: bool = Field(
        False, description="Count playlists that users follow, not only those they own or collaborate on"
    )

    listenbrainz_api_url: str = Field(
        "https://api.listenbrainz.org", description="Root of ListenBrainz' API, or of a simulator"
    )
    listenbrainz_token: SecretStr | None = Field(
        None, description="A user token of ListenBrainz. Not needed to read; it raises the rate limit"
    )
    listenbrainz_artists_only: bool = Field(
        False, description="Read the artists of ListenBrainz' users, not their listens: faster, and without tracks"
    )
    listenbrainz_least_listens: int = Field(
        50, ge=1, description="Users of a ListenBrainz dump with fewer listens are left out"
    )

    lastfm_api_url: str = Field("https://ws.audioscrobbler.com", description="Root of Last.fm's API, or of a simulator")
    lastfm_api_key: SecretStr | None = Field(None, description="Key of an API account: https://www.last.fm/api")
    train_on_lastfm: bool = Field(
        False, description="Train on users whose source is Last.fm's API. Its terms forbid commercial use by default"
    )

    retention_days: float | None = Field(
        None, gt=0, description="Listening is dropped after this many days; embeddings stay; default: never"
    )
    gone_days: float = Field(
        30, ge=0, description="Users that their source does not know any more are removed after this many days"
    )
    app_url: str | None = Field(
        None, description="Where people reach the app, like https://taste.example; default: as their browser names it"
    )
    app_password: SecretStr | None = Field(
        None, description="A password for the whole app (HTTP Basic, any user name); default: no password"
    )
    app_proxy_header: str | None = Field(
        None,
        description="A header that a reverse proxy sets for logged-in users, like X-Forwarded-User; requests without "
        "it are refused",
    )
    app_keeps: bool = Field(
        True, description="Keep users who agree to it, and let them log in. false: nothing is kept, for a public demo"
    )
    app_requests_per_minute: int = Field(600, ge=1, description="Requests of one client in a minute")
    app_newcomers_per_minute: int = Field(20, ge=1, description="New users that one client may hand in, in a minute")
    app_connections_per_client: int = Field(64, ge=1, description="Open connections of one address")
    app_connections: int = Field(1_000, ge=1, description="Open connections of all")
    app_max_upload_mb: int = Field(200, ge=1, le=4096, description="Largest upload, in MB")
    app_request_seconds: float = Field(30, gt=0, description="Longest answer, in seconds")
    app_upload_seconds: float = Field(300, gt=0, description="Longest upload, in seconds")
    app_newcomer_seconds: float = Field(120, gt=0, description="Longest work for one new user, in seconds")

    dagster_home: Path | None = Field(
        None, validation_alias="DAGSTER_HOME", description="Dagster's own state; default: dagster/ under the data root"
    )
    postgres_url: SecretStr | None = Field(
        None, description="PostgreSQL for Dagster's instance; also tells forget where it is"
    )
    buckets_per_run: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="At most this many user buckets in a run that the daemon starts, so that several runs share a "
        "stage; default: all in one run",
    )
    executor: Literal["in_process", "multiprocess"] = Field(
        "in_process", description="How Dagster runs steps: in one process (quick to start), or one process each"
    )

    alert_webhook: SecretStr | None = Field(
        None, description="URL that gets a JSON message when a run fails or a stage is late, such as a webhook of Slack"
    )
    ui_url: str | None = Field(None, description="Where people open the Dagster UI, for links in alerts")

    @field_validator(
        "encoder",
        "listenbrainz_token",
        "lastfm_api_key",
        "mlflow_uri",
        "app_url",
        "app_password",
        "app_proxy_header",
        "postgres_url",
        "alert_webhook",
        "ui_url",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: str | None) -> str | None:
        return value or None

    @field_validator("mlflow_uri")
    @classmethod
    def _names_a_scheme(cls, value: str | None) -> str | None:
        if value is not None and "://" not in value:
            raise ValueError("write it as https://HOST or as a database, like postgresql+psycopg2://HOST/NAME")
        return value

    @field_validator("alert_webhook", "ui_url")
    @classmethod
    def _is_a_web_address(cls, value: SecretStr | str | None) -> SecretStr | str | None:
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        if plain is not None and (urlsplit(plain).scheme not in ("http", "https") or not urlsplit(plain).hostname):
            raise ValueError("write it as https://HOST/PATH")  # without the value: the address of a hook is a secret
        return value

    @field_validator("local")
    @classmethod
    def _of_this_machine(cls, value: Path | None, settings: ValidationInfo) -> Path | None:
        data = settings.data.get("data")
        if value is None and isinstance(data, ObjectPath):
            # No default: logins and mirrors of two data roots would meet in it, and a container would lose them.
            raise ValueError(
                f"it must be set, as {data} is no folder. Name a folder of this machine for uploads, logins and "
                "Dagster's state"
            )
        return None if value is None else Path(data_root(value))

    @model_validator(mode="after")
    def _knows_its_locks(self) -> Self:
        if isinstance(self.data, ObjectPath) and self.postgres_url is not None:
            self.data = ObjectPath(self.data.bucket, self.data.key, self.postgres_url.get_secret_value())
        return self

    @property
    def local_data(self) -> Path:
        """The folder of what stays on this machine."""
        return Path(self.local or self.data)

    @field_validator("dagster_home")
    @classmethod
    def _is_absolute(cls, value: Path | None) -> Path | None:
        if value is not None and not value.expanduser().is_absolute():
            raise ValueError(f"it must be an absolute path, like {Path.cwd() / value}; unset, it is in the data root")
        return value and value.expanduser()

    @field_validator("spotify_api_url", "spotify_auth_url", "listenbrainz_api_url", "lastfm_api_url", "app_url")
    @classmethod
    def _safe_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if not parts.hostname or parts.username is not None or parts.query or parts.fragment:
            raise ValueError("It must be a plain URL such as https://api.spotify.com/v1/")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(value)):
            raise ValueError("It must begin with https://, as tokens are sent there; http:// is for 127.0.0.1 only")
        return value.rstrip("/")


def is_loopback(url: str) -> bool:
    """Return whether the host of a URL is this machine, as for a simulator."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
