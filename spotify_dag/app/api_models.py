"""What the API is asked and what it answers: for its description, and for the tools of programs (`mcp_tools`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from spotify_dag.stores.preferences import MOST_NAME, MOST_PREFERENCES, Kind

MOST_LISTENERS = 50
MOST_MATCHES = 100
MOST_ENTRIES = 1_000
ListenerId = Annotated[str, Field(min_length=1, max_length=500, description="User id", examples=["synthetic-000007"])]


class MatchesQuestion(BaseModel):
    """How many matches are asked for, and which."""

    k: int = Field(10, ge=1, le=MOST_MATCHES, description="Number of matches")
    min_shared: int = Field(0, ge=0, le=1_000, description="Artists both must have, at least: of the 2,000 nearest")


class ListenersQuestion(BaseModel):
    """Which users to choose from are asked for."""

    q: str = Field("", max_length=500, description="How the id begins; empty for examples")
    k: int = Field(10, ge=1, le=MOST_LISTENERS, description="Number of users")


class PairQuestion(BaseModel):
    """Two users."""

    a: ListenerId
    b: ListenerId


class CompareQuestion(PairQuestion):
    """Two users, and how much is to be said of them."""

    limit: int = Field(15, ge=1, le=MOST_ENTRIES, description="Entries per list")


class SharedName(BaseModel):
    """Something both listen to, with its share of each side's listening."""

    name: str
    yours: float = Field(ge=0)
    theirs: float = Field(ge=0)


class NewName(BaseModel):
    """Something one listens to and the other does not, with its share of the listening."""

    name: str
    theirs: float = Field(ge=0)


class Why(BaseModel):
    """Why two users match; each list begins with what weighs most."""

    shared_genres: list[SharedName]
    shared_artists: list[SharedName]
    shared_eras: list[SharedName]
    new_to_you: list[NewName]


class MatchAnswer(Why):
    """Another user, how alike the two are, and why."""

    user_id: str
    score: float = Field(description="Cosine of the two user vectors, -1 to 1")
    percent: float = Field(description="Share of random pairs of users who are less alike, 0 to 100", ge=0, le=100)
    confidence: float = Field(description="How far the score can be trusted, 0 to 1", ge=0, le=1)
    profile: str | None = Field(description="The user at Spotify, where that is where they come from")


class MatchesAnswer(BaseModel):
    """Who is most like a user."""

    user_id: str
    model_version: str = Field(description="The version that all of this answer is from")
    tracks: int = Field(description="Playlist items known of the user", ge=0)
    matches: list[MatchAnswer]


class CompareAnswer(Why):
    """What two users have in common, and what each has that the other has not."""

    user_id: str
    other_id: str
    model_version: str
    score: float
    percent: float = Field(ge=0, le=100)
    confidence: float = Field(ge=0, le=1)
    new_to_other: list[NewName]


class JobAnswer(BaseModel):
    """Where to follow what was begun."""

    job: str
    events: str = Field(description="Path of the server-sent events: progress, then result or problem")


class PlaylistAnswer(BaseModel):
    """A playlist of a user, as stored."""

    name: str | None
    items: int


class PreferenceEntry(BaseModel):
    """Something that a user leaves out, or said of a track."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind = Field(description="artist, genre, playlist: it does not count. not-for-me, more-like: a track")
    name: str = Field(
        min_length=1, max_length=MOST_NAME, description="Name; of a playlist title or id; of a track id, URI or link"
    )


class PreferencesChange(BaseModel):
    """What to leave out or say, and what to undo, in one step."""

    model_config = ConfigDict(extra="forbid")

    add: list[PreferenceEntry] = Field(default_factory=list, max_length=MOST_PREFERENCES)
    remove: list[PreferenceEntry] = Field(default_factory=list, max_length=MOST_PREFERENCES)


class PreferencesAnswer(BaseModel):
    """What a user leaves out and said of tracks."""

    user_id: str
    preferences: list[PreferenceEntry]
    items: int = Field(description="Playlist items of the user", ge=0)
    items_left_out: int = Field(description="How many of these do not count", ge=0)


class ShareOverTime(BaseModel):
    """A genre or an era, and its share of the listening in each period."""

    name: str
    shares: list[float]


class TasteChange(BaseModel):
    """What came or went."""

    kind: Literal["genre", "artist", "era"]
    name: str
    then: float = Field(description="Share of the listening then, 0 to 1")
    now: float


class Span(BaseModel):
    """The first and the last month of a time."""

    first: str = Field(alias="from")
    to: str


class TasteAnswer(BaseModel):
    """How the taste of a user changed; empty lists and a note where no file tells when."""

    user_id: str
    periods: list[str] = Field(description="Years, or months where they are few")
    counts: list[int] = Field(description="Plays, or items added, in each period")
    genres: list[ShareOverTime]
    eras: list[ShareOverTime]
    then: Span | None
    now: Span | None
    came: list[TasteChange]
    went: list[TasteChange]
    note: str | None


class StoredAnswer(BaseModel):
    """What is stored of a user."""

    user_id: str
    source: str | None = Field(description="Where the listening came from")
    fetched_at: str | None = Field(description="When it was read")
    opted_in: bool = Field(description="Whether others may be told of the user")
    every_week: bool = Field(description="Whether a list of new tracks is made every Monday")
    card: bool = Field(description="Whether anybody may see the card")
    waits_in_inbox: bool = Field(description="Whether it was handed in and no run has taken it in yet")
    in_index: bool = Field(description="Whether the user is compared with others")
    rows: dict[str, int] = Field(description="Rows in each table")
    tracks: int = Field(description="Different tracks", ge=0)
    artists: int = Field(description="Different artists", ge=0)
    playlists: list[PlaylistAnswer]
    preferences: list[PreferenceEntry]
    items_left_out: int = Field(description="Playlist items that the user left out", ge=0)


class ForgottenAnswer(BaseModel):
    """What was deleted."""

    user_id: str
    deleted: dict[str, int]


class ListenerAnswer(BaseModel):
    """A user to choose."""

    user_id: str
    genres: list[str] = Field(description="Those that weigh most")


class ListenersAnswer(BaseModel):
    """Users to choose from."""

    listeners: list[ListenerAnswer]


class MapAnswer(BaseModel):
    """All users who are shown, on a plane where neighbours have similar taste."""

    model_version: str
    genres: list[str] = Field(description="The most common dominant genres; the last stands for all others")
    user_ids: list[str]
    x: list[float] = Field(description="0 to 1")
    y: list[float] = Field(description="0 to 1")
    genre: list[int] = Field(description="Place of each user's dominant genre in `genres`")


class HealthAnswer(BaseModel):
    """How the app is."""

    status: str
    model_version: str | None = None
    users: int | None = None


class CatalogueTrack(BaseModel):
    """A track of the catalogue."""

    track_id: str
    catalogue_number: int
    track_name: str | None
    artist_name: str | None
    album_name: str | None
    release_year: int | None
    popularity: float | None = Field(description="0 to 100")
    genres: list[str] | None


class TrackAnswer(CatalogueTrack):
    """A track, and how well it fits."""

    score: float


class FoundTrack(TrackAnswer):
    """A song that was searched for."""

    recordings: int = Field(description="How many recordings of the song there are; the best known is shown", ge=1)


class TracksAnswer(BaseModel):
    """Songs, best first."""

    tracks: list[FoundTrack]


class NextTrack(TrackAnswer):
    """A track that continues a playlist."""

    why: list[str]


class SuggestedTrack(NextTrack):
    """A track for one user."""

    near: int = Field(description="How many of the nearest users have it", ge=0)


class SuggestedAnswer(BaseModel):
    """Tracks that a user does not have, best first."""

    tracks: list[SuggestedTrack]
    has: int = Field(description="Tracks of the user that are known here", ge=0)
    near_users: int = Field(description="Nearest users that were looked at", ge=0)


class EveryWeekAnswer(BaseModel):
    """Whether a user has a list every Monday."""

    user_id: str
    every_week: bool


class CardAnswer(BaseModel):
    """Whether anybody may see the card of a user."""

    user_id: str
    card: bool


class WeeklyAnswer(BaseModel):
    """The list of a week."""

    week: str | None = Field(description="Its Monday; null where there is no list")
    weeks: list[str] = Field(description="Mondays of all lists that are kept, latest first")
    tracks: list[NextTrack]
    unmade_reason: str | None = Field(description="Why it is empty; null where it is not")


class AddedAnswer(BaseModel):
    """A list of tracks that is a playlist of an account now."""

    playlist_id: str
    url: str
    title: str
    tracks: int = Field(description="How many of the list are in the playlist", ge=0)
    added: int = Field(description="How many of them were added now", ge=0)
    left_out: list[str] = Field(description="Ids that are not Spotify's, and tracks that Spotify does not know")


class ContinueAnswer(BaseModel):
    """How a playlist goes on."""

    recommendations: list[NextTrack]
    seeds: int = Field(description="Tracks of the request that are known", ge=0)
    unknown: list[str] = Field(description="Tracks of the request that are not")


class BlendPerson(BaseModel):
    """One of the people."""

    user_id: str
    satisfaction: float = Field(
        description="What is to be expected, 0 to 1; 1 is the best list of this length for them alone"
    )


class BlendReason(BaseModel):
    """Somebody a track is there for."""

    user_id: str
    why: str


class BlendTrack(CatalogueTrack):
    """A track of a blend."""

    seconds: int = Field(description="Its length; 210 where nobody knows")
    known_by: list[str]
    why: list[str] = Field(description="The same as `for`, as text")
    told: list[BlendReason] = Field(alias="for")


class BlendAnswer(BaseModel):
    """One list for several people."""

    tracks: list[BlendTrack]
    people: list[BlendPerson]
    least: float = Field(description="Expected satisfaction of the least satisfied person")
    mean: float
    minutes: float
    known: float = Field(description="Share of tracks that one of them has")
