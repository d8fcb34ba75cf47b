"""Answers about tracks: search, continue a playlist, and the request format of the system this one succeeds."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, ValidationError, field_validator

from spotify_dag.errors import SpotifyDagError
from spotify_dag.features.audio import RANGES, believable, scaled
from spotify_dag.features.genres import artist_key
from spotify_dag.stores.text_encoder import Encoder
from spotify_dag.tracks.continuation_model import LoadedModel, NoTracksError, TrackModel
from spotify_dag.tracks.corpus import title_words
from spotify_dag.tracks.methods.content import unit
from spotify_dag.tracks.moods import PHRASES, mood_pull
from spotify_dag.tracks.text_search import QUERY_CHARS, Filters
from spotify_dag.tracks.track_arrays import Request, Unseen
from spotify_dag.tracks.track_index import SHOWN, Found, TrackIndex, fold

MOST_ANSWERS, MOST_SONGS = 10_000, 1_000
"""Recommendations, and songs of a search, that an answer holds at most, whatever number is asked for."""
MOST_UNSEEN = 1_000
"""Seeds that the model does not have, because they came later, or are described only; of more of either, the first."""
LINK = re.compile(r"^\s*(?:spotify:track:|(?:https?://)?open\.spotify\.com/(?:intl-\w+/)?track/)([^/?#\s]+)")
NO_TRACK = "A track is an id, a URI, a URL, a catalogue number, or an object with a title and an artist"


class RequestError(SpotifyDagError):
    """A request that cannot be read. The message names the file, the field, the value and the remedy."""


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("it has half of a letter that JSON writes in two (a lone surrogate)") from error
    return text


Text = Annotated[str, AfterValidator(_whole)]


class TrackDescription(BaseModel):
    """A track that the catalogue need not have, by what is known of it."""

    model_config = ConfigDict(extra="forbid")

    title: Text = ""
    artist: Text = ""
    year: float | None = None
    audio: dict[str, float] = Field(default_factory=dict)
    """Audio features in the units of `features.audio.RANGES`."""

    @field_validator("audio")
    @classmethod
    def _possible(cls, audio: dict[str, float]) -> dict[str, float]:
        for name, value in audio.items():
            if name not in RANGES:
                raise ValueError(f"there is no audio feature '{name}'; choose from {', '.join(RANGES)}")
            low, high = RANGES[name]
            if not low <= value <= high:
                raise ValueError(f"{name} is {value:g}, not from {low:g} to {high:g}")
        return audio


Item = StrictInt | Text | TrackDescription


class ContinueRequest(BaseModel):
    """What to continue, and how."""

    model_config = ConfigDict(extra="forbid")

    tracks: list[Item] = Field(default_factory=list)
    """Track ids, URIs, URLs, catalogue numbers or descriptions, in order."""
    title: Text | None = None
    """Title of the playlist."""
    mood: Text | None = None
    """How it should sound: "calm acoustic evening"."""
    count: int = Field(20, ge=1)
    popularity: float = Field(0.0, ge=-1, le=1)
    diversity: float = Field(0.0, ge=0, le=1)


class SeedRequest(BaseModel):
    """One request of the system this one succeeds."""

    model_config = ConfigDict(extra="forbid")

    search: Text = ""
    playlist: list[Item] = Field(default_factory=list)
    recommender_neighbors: int = Field(10, ge=0)
    search_neighbors: int = Field(10, ge=0)


@dataclass(frozen=True)
class _Resolved:
    request: Request
    unknown: list[Any]


@dataclass(frozen=True)
class TrackAnswers:
    """Answers from one data root.

    The model is loaded with the first answer that needs it, and again once another version serves; keep one of these
    to answer many times. Threads may share it.
    """

    index: TrackIndex
    models: TrackModel
    encoder: Encoder
    _held: dict[str, LoadedModel] = field(default_factory=dict, init=False, repr=False)
    """The version loaded last, by its name."""
    _loading: Lock = field(default_factory=Lock, init=False, repr=False)

    def search(self, text: str, k: int = 10, filters: Filters | None = None) -> list[dict[str, Any]]:
        """Return the songs that a text names or means, best first.

        Raises
        ------
        NoTracksError
            If there is no index yet.
        SearchError
            If a filter cannot be.
        """
        if self.index.table is None:
            raise NoTracksError(
                "There are no tracks to search yet. Run: spotify-dag run --source spotify-songs --path TABLE"
            )
        return [_song(hit) for hit in self.index.search(text, min(k, MOST_SONGS), self.encoder.encode, filters)]

    def answer(self, request: ContinueRequest | SeedRequest) -> dict[str, Any]:
        """Answer one request, in the format that belongs to it."""
        if isinstance(request, ContinueRequest):
            return self.continued(request)
        songs = self.search(request.search, request.search_neighbors) if request.search_neighbors else []
        answer: dict[str, Any] = {"search": songs, "search_catalogue_numbers": [s["catalogue_number"] for s in songs]}
        limits = _limited("search_neighbors", request.search_neighbors, MOST_SONGS)
        recommendations: list[dict[str, Any]] = []
        if request.playlist and request.recommender_neighbors:
            continued = self.continued(ContinueRequest(tracks=request.playlist, count=request.recommender_neighbors))
            recommendations, answer["unknown"] = continued["recommendations"], continued["unknown"]
            limits |= _limited("recommender_neighbors", request.recommender_neighbors, MOST_ANSWERS)
        return {
            **answer,
            "recommendations": recommendations,
            "recommendation_catalogue_numbers": [track["catalogue_number"] for track in recommendations],
            **({"limited_to": limits} if limits else {}),
        }

    def continued(self, request: ContinueRequest, not_for_me: Sequence[str] = ()) -> dict[str, Any]:
        """Return ``recommendations``, each with reasons, ``seeds`` (how many were used) and ``unknown`` items.

        No recording of a track of ``not_for_me`` is recommended.

        Raises
        ------
        NoTracksError
            If there is no model yet.
        """
        loaded = self.loaded()
        resolved = self._resolve(request, loaded)
        unwanted = np.array(list(loaded.numbers(not_for_me).values()), np.int64)
        recommended = loaded.model.recommend(
            resolved.request,
            min(request.count, MOST_ANSWERS),
            popularity=request.popularity,
            diversity=request.diversity,
            without_songs=loaded.model.stage.tracks.song[unwanted],
        )
        ids = loaded.track_ids["track_id"].gather([candidate.track for candidate in recommended]).to_list()
        cards = self.index.rows(ids)
        limits = _limited("count", request.count, MOST_ANSWERS)
        return {
            "recommendations": [
                {**shown(cards[track_id]), "score": round(candidate.score, 4), "why": candidate.reasons}
                for track_id, candidate in zip(ids, recommended, strict=True)
                if track_id in cards
            ],
            "seeds": len(resolved.request),
            "unknown": resolved.unknown,
            **({"limited_to": limits} if limits else {}),
        }

    def loaded(self) -> LoadedModel:
        """Return the model that serves.

        Raises
        ------
        NoTracksError
            If there is none yet.
        """
        with self._loading:
            card = self.models.card()
            if card is None or card["version"] not in self._held:
                loaded = self.models.load()
                self._held.clear()
                self._held[loaded.version] = loaded
            return next(iter(self._held.values()))

    def _resolve(self, request: ContinueRequest, loaded: LoadedModel) -> _Resolved:
        items: list[Item] = list(dict.fromkeys(_identity(item) for item in request.tracks if not _described(item)))
        numbers: dict[Any, int] = dict(loaded.numbers([item for item in items if isinstance(item, str)]))
        numbers |= loaded.catalogue_numbers([item for item in items if isinstance(item, int)])
        rest = [item for item in items if item not in numbers]
        # What the index has and the model has not came after the model was learned: it counts by its content.
        late = self.index.rows(
            [item for item in rest if isinstance(item, str)][:MOST_UNSEEN],
            ["vector", *RANGES],
        )
        described = [item for item in request.tracks if isinstance(item, TrackDescription)][:MOST_UNSEEN]
        wish = (request.mood or "").strip()
        written = wish or (request.title or "").strip()
        texts = [text for item in described for text in (*_words(item.title), item.artist) if text]
        vectors = self._vectors([*texts, *([written, *PHRASES] if written else [])])
        title = mood = None
        if written:
            title = vectors[written]
            mood = mood_pull(title[None], np.stack([vectors[phrase] for phrase in PHRASES]))[0]
        seeds = np.array([numbers[item] for item in items if item in numbers], np.int64)
        unseen = _unseen(loaded, described, list(late.values()), vectors)
        asked = Request(seeds, title, mood, fold(written[:QUERY_CHARS]) if written else "", bool(wish), unseen)
        return _Resolved(asked, [item for item in rest if item not in late])

    def _vectors(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        distinct = list(dict.fromkeys(texts))
        vectors = self.encoder.encode([text[:QUERY_CHARS] for text in distinct]) if distinct else ()
        return dict(zip(distinct, vectors, strict=True))


def list_title(request: ContinueRequest) -> str:
    """Return what the list is called that answers a request."""
    name = (request.title or request.mood or "").strip()
    return f"More of {name}" if name else f"Continues {len(request.tracks):,} tracks"


def read_requests(path: Path) -> tuple[list[ContinueRequest | SeedRequest], bool]:
    """Read a file of one request, or of a list of them; return them, and whether they were a list.

    Raises
    ------
    RequestError
        If it is not there, is not JSON, or holds something else; the message says where.
    """
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise RequestError(f"Cannot read '{path}': {error.strerror}. Give a JSON file.") from error
    except (ValueError, RecursionError) as error:
        raise RequestError(f"'{path}' is not JSON: {error or 'nested too deep'}.") from error
    listed = content if isinstance(content, list) else [content]
    return [_request(entry, f"'{path}', request {number}") for number, entry in enumerate(listed, 1)], listed is content


def _request(entry: Any, where: str) -> ContinueRequest | SeedRequest:
    if not isinstance(entry, dict):
        raise RequestError(
            f"{where} is {_short(entry)}, not an object with 'tracks' or 'title', or 'search' and 'playlist'."
        )
    kind = SeedRequest if entry.keys() & {"search", "playlist"} else ContinueRequest
    try:
        return kind.model_validate(entry)
    except ValidationError as error:
        # Of a track every form that it might have says why it has not: what helps is the complaint that went deepest.
        problem = max(error.errors(), key=lambda error_of_field: len(error_of_field["loc"]))
        place = problem["loc"]  # the field; of a track its number, the form it was taken for, and what is in it
        of = TrackDescription if len(place) > 3 else kind
        complaint = NO_TRACK if len(place) == 3 else problem["msg"].removeprefix("Value error, ")
        raise RequestError(
            f"{where}: {'.'.join(map(str, place[:2] + place[3:]))} is {_short(problem['input'])}: {complaint}. "
            f"Fields are: {', '.join(of.model_fields)}."
        ) from error


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _limited(name: str, asked: int, most: int) -> dict[str, int]:
    """Return what an answer says where more is asked for than it holds."""
    return {name: most} if asked > most else {}


def track_reference(text: str) -> str:
    """Return the track id of an id, URI or URL."""
    link = LINK.match(text)
    return link[1] if link else text.strip()


def _identity(item: Item) -> Any:
    """Return the track id of an id, URI or URL; a catalogue number as it is."""
    return track_reference(item) if isinstance(item, str) else item


def _described(item: Item) -> bool:
    return isinstance(item, TrackDescription)


def _unseen(
    loaded: LoadedModel, described: Sequence[TrackDescription], late: Sequence[dict[str, Any]],
    vectors: dict[str, np.ndarray],
) -> Unseen | None:  # fmt: skip
    import polars as pl

    if not described and not late:
        return None
    dim = loaded.model.stage.tracks.text.shape[1]

    def text(item: TrackDescription) -> np.ndarray:
        title = unit(np.sum([np.zeros(dim, np.float32), *(vectors[word] for word in _words(item.title))], axis=0))
        return unit(title + vectors[item.artist] if item.artist else title)

    names = pl.DataFrame({"name": [item.artist for item in described] + [row["artist_name"] for row in late]})
    keys = names.select(artist_key(pl.col("name"))).to_series().to_list()
    artists = loaded.artists(keys)
    audio = [item.audio for item in described] + [{name: row[name] for name in RANGES} for row in late]
    table = pl.DataFrame(
        {name: [row.get(name) for row in audio] for name in RANGES},
        schema=dict.fromkeys(RANGES, pl.Float64),
        strict=False,
    )
    years = [item.year for item in described] + [row["release_year"] for row in late]
    return Unseen(
        artist=np.array([artists.get(key, -1) for key in keys], np.int64),
        audio=scaled(table.select(believable(name) for name in RANGES)),
        year=np.array([np.nan if year is None else year for year in years], np.float32),
        text=np.array([text(item) for item in described] + [row["vector"] for row in late], np.float32).reshape(
            -1, dim
        ),
    )


def _words(title: str) -> list[str]:
    """Return what is encoded of a title, see `corpus.title_words`."""
    import polars as pl

    if not title:
        return []
    words: list[str] = pl.select(title_words(pl.lit(title[:QUERY_CHARS]))).item().to_list()
    return [word for word in words if word]


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return what an answer says of a track, from a row of the index."""
    return {name: row[name] for name in SHOWN}


def _song(hit: Found) -> dict[str, Any]:
    return {**hit.track, "score": round(hit.score, 4), "recordings": hit.recordings}
