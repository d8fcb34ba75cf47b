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
    train_users: int = Field(20_000, ge=2, description="At most this many users are trained on")

    dagster_home: Path | None = Field(
        None, validation_alias="DAGSTER_HOME", description="Dagster's own state; default: dagster/ under the data root"
    )
    executor: Literal["in_process", "multiprocess"] = Field(
        "in_process", description="How Dagster runs steps: in one process (quick to start), or one process each"
    )

    @field_validator("data")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()
