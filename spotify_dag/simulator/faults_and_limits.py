"""Settings of a simulator, and its faults."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

RATE_KINDS = (
    "rate_limited", "rate_limited_long", "rate_limited_garbled", "quota_exceeded",
    "server_error", "bad_gateway", "unavailable",
    "empty", "html", "malformed", "truncated", "slow", "hang_up",
)  # fmt: skip


class Faults(BaseModel):
    """Rates of faults and oddities, by default zero. The same seed gives the same faults.

    A fault happens to a request of ``/v1``. It depends on the seed, the URL and how often that URL was asked for. So
    the order in which a concurrent client asks does not matter. An oddity belongs to the content: it is always in the
    same place. It stands beside the items of the world, never in place of one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate_limited: float = Field(0, ge=0, le=1, description="429 with a Retry-After of `retry_after` seconds")
    rate_limited_long: float = Field(0, ge=0, le=1, description="429 with a Retry-After of `long_retry_after` seconds")
    rate_limited_garbled: float = Field(0, ge=0, le=1, description="429 with a Retry-After that is no number")
    quota_exceeded: float = Field(0, ge=0, le=1, description="429 with error.reason QUOTA_EXCEEDED, long Retry-After")
    server_error: float = Field(0, ge=0, le=1, description="500")
    bad_gateway: float = Field(0, ge=0, le=1, description="502")
    unavailable: float = Field(0, ge=0, le=1, description="503")
    empty: float = Field(0, ge=0, le=1, description="200 with no body")
    html: float = Field(0, ge=0, le=1, description="200 with a page of HTML")
    malformed: float = Field(0, ge=0, le=1, description="200 with the first half of the JSON, whole as HTTP")
    truncated: float = Field(0, ge=0, le=1, description="200 whose connection ends half-way through the body")
    slow: float = Field(0, ge=0, le=1, description="200 whose body drips over `drip_seconds`")
    hang_up: float = Field(0, ge=0, le=1, description="connection closed without an answer")

    null_item: float = Field(0, ge=0, le=1, description="playlist entries whose item is null, per item of the world")
    local_item: float = Field(0, ge=0, le=1, description="local files (no id, no album), per item of the world")
    episode: float = Field(0, ge=0, le=1, description="podcast episodes, per item of the world")
    null_playlist: float = Field(0, ge=0, le=1, description="null entries in lists of playlists, per playlist")
    left_out: float = Field(
        0, ge=0, le=1, description="entries that a list counts and its page leaves out, per item and per playlist"
    )
    no_owner: float = Field(0, ge=0, le=1, description="playlists whose owner is null in lists, per playlist")
    empty_list: float = Field(0, ge=0, le=1, description="users whose list of playlists has a total and no items")
    others_not_found: float = Field(0, ge=0, le=1, description="404 for the playlists of another user, per user")
    null_date: float = Field(0, ge=0, le=1, description="items of the world with null added_at and added_by")
    null_genres: float = Field(0, ge=0, le=1, description="artists whose genres are null")

    no_artist: float = Field(0, ge=0, le=1, description="listens without an artist, per listen of the world")
    unknown_artist: float = Field(0, ge=0, le=1, description='listens of "[unknown]", per listen of the world')
    no_statistics: float = Field(0, ge=0, le=1, description="users whose statistics were not computed")

    retry_after: int = Field(1, ge=0, description="Seconds of a short Retry-After")
    long_retry_after: int = Field(86_400, ge=0, description="Seconds of a long Retry-After")
    drip_seconds: float = Field(5, ge=0, description="Seconds that a slow body takes")

    @model_validator(mode="after")
    def _rates_are_shares(self) -> Faults:
        if (total := sum(getattr(self, kind) for kind in RATE_KINDS)) > 1 + 1e-9:
            raise ValueError(f"the rates of faults sum to {total:g}; they are shares of the requests, at most 1 in all")
        return self

    @classmethod
    def evenly(cls, rate: float, **others: object) -> Faults:
        """Return faults of all kinds with equal rates that sum to ``rate``; ``others`` replace single values."""
        return cls.model_validate({**dict.fromkeys(RATE_KINDS, rate / len(RATE_KINDS)), **others})


class SimulatorSettings(BaseModel):
    """One simulated Spotify, ListenBrainz and Last.fm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["extended", "development"] = Field(
        "extended",
        description="extended: an app with extended quota from before 27 November 2024, which may read everything "
        "public. development: an app created after 11 February 2026, which reads what its logged-in user owns",
    )
    users: int = Field(500, ge=1, description="Users of the generated world")
    seed: int = Field(0, ge=0, description="Seed of the world and of the faults")
    playlists: int = Field(5, ge=1, le=100, description="Playlists per user")
    tracks: int = Field(50, ge=1, le=400, description="Mean number of tracks of a playlist")
    latency: float = Field(0, ge=0, description="Seconds every request of /v1 takes at least")
    client_id: str = Field("simulator", description="The one app that is registered")
    client_secret: str = Field("simulator", description="Its secret. It protects nothing")
    allowlist: int = Field(5, ge=0, description="development: this many first users of the world may log in")
    owner_has_premium: bool = Field(True, description="development: an app whose owner has no Premium is refused")
    access_token_seconds: float = Field(3600, gt=0, description="Life of an access token")
    refresh_token_seconds: float = Field(183 * 86_400, gt=0, description="Life of a login; refreshing adds nothing")
    listens: int = Field(300, ge=1, description="Mean number of listens of a user, at ListenBrainz and Last.fm")
    listenbrainz_requests: int = Field(300, ge=1, description="Requests that ListenBrainz allows in one window")
    listenbrainz_window: float = Field(10, gt=0, description="Seconds of that window")
    faults: Faults = Faults()
