"""Everything that can be configured, in one place. Nothing else reads the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of one installation, from ``SPOTIFY_DAG_*`` variables; one build uses one setting for everybody."""

    model_config = SettingsConfigDict(env_prefix="SPOTIFY_DAG_", extra="ignore", populate_by_name=True)

    data: Path = Field(Path("data"), description="Root of everything generated: lake, vectors, models, Dagster's state")
    n_buckets: int = Field(64, ge=1, le=4096, description="Number of user buckets. Fixed for the life of a data root")
    encoder: str | None = Field(
        None,
        description="Sentence-transformer: a hub name or a local folder. Default: the installed all-MiniLM-L6-v2",
    )
    profiles_count: int | None = Field(None, ge=1, description="At most this many users of each source; default: all")
    playlists_count: int | None = Field(None, ge=1, description="At most this many playlists per user; default: all")
    top_artist_count: int = Field(50, ge=1, description="Most frequent artists that make the artist embedding")
    seed: int = Field(0, ge=0, description="Seed of training")
    train_on_spotify: bool = Field(
        False, description="Train on users whose source is the Spotify Web API. Its terms forbid that by default"
    )
    train_users: int = Field(20_000, ge=2, description="At most this many users are trained on")
    mlflow_uri: str | None = Field(
        None, description="Another MLflow for the model registry: a server or a database; default: under the data root"
    )

    dagster_home: Path | None = Field(
        None, validation_alias="DAGSTER_HOME", description="Dagster's own state; default: dagster/ under the data root"
    )
    executor: Literal["in_process", "multiprocess"] = Field(
        "in_process", description="How Dagster runs steps: in one process (quick to start), or one process each"
    )

    @field_validator("encoder", "mlflow_uri", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: str | None) -> str | None:
        return value or None

    @field_validator("mlflow_uri")
    @classmethod
    def _names_a_scheme(cls, value: str | None) -> str | None:
        if value is not None and "://" not in value:
            raise ValueError("write it as https://HOST or as a database, like postgresql://HOST/NAME")
        return value

    @field_validator("data")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()
