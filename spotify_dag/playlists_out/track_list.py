"""A list of tracks as it leaves: what every form of file says of a track."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from spotify_dag.sources.track_links import RECORDING_ID, RECORDING_LINK, SPOTIFY_ID, TRACK_LINK

SEARCH_LINK = "https://open.spotify.com/search/"
UNTITLED = "Playlist"
_NO_NAME = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+|[\ufffe\uffff]")
"""Characters that `sources.base.clean` takes out of names, and those that XML cannot hold."""


@dataclass(frozen=True)
class ListedTrack:
    """One track of a list, by what is known of it."""

    title: str
    artists: tuple[str, ...]
    """Their names in order, at least one."""
    album: str | None = None
    year: int | None = None
    track_id: str | None = None
    """Of Spotify or MusicBrainz; None where it has neither."""
    popularity: float | None = None
    """0 to 100."""
    why: str = ""
    """For which reason it is in the list, for people to read."""

    @property
    def uri(self) -> str | None:
        """What names it for programs."""
        if self.track_id is None:
            return None
        return f"spotify:track:{self.track_id}" if re.fullmatch(SPOTIFY_ID, self.track_id) else self.page

    @property
    def is_recording(self) -> bool:
        """Whether MusicBrainz names it."""
        return self.track_id is not None and re.fullmatch(RECORDING_ID, self.track_id) is not None

    @property
    def page(self) -> str | None:
        """The page where its service shows it."""
        if self.track_id is None:
            return None
        return (TRACK_LINK if re.fullmatch(SPOTIFY_ID, self.track_id) else RECORDING_LINK) + self.track_id

    @property
    def link(self) -> str:
        """Where somebody gets to hear it: its page, else a search for it."""
        return self.page or SEARCH_LINK + quote(" ".join((*self.artists, self.title)), safe="")


@dataclass(frozen=True)
class TrackList:
    """Tracks in order, under a title."""

    title: str
    tracks: Sequence[ListedTrack]

    @staticmethod
    def of_answers(title: str, answers: Sequence[Mapping[str, Any]]) -> TrackList:
        """Return songs or recommendations, as `TrackAnswers` gives them, as a list. Those without a title are left out.

        Parameters
        ----------
        title
            Of the list.
        answers
            ``track_id, track_name, artist_name, album_name, release_year, popularity`` and, if there is one, ``why``.
        """
        return TrackList(
            named(title) or UNTITLED,
            [
                ListedTrack(
                    title=track,
                    artists=(artist,),
                    album=named(answer["album_name"]) or None,
                    year=answer["release_year"],
                    track_id=_service_id(answer["track_id"]),
                    popularity=answer["popularity"],
                    why="; ".join(answer.get("why", ())),
                )
                for answer in answers
                if (track := named(answer["track_name"])) and (artist := named(answer["artist_name"]))
            ],
        )


def named(text: str | None) -> str:
    """Return a name as the door leaves it (`sources.base.clean`): on one line, without spaces around it."""
    return _NO_NAME.sub(" ", text or "").strip()


def _service_id(track_id: str) -> str | None:
    """Return an id that a service gives; None for one that this program made up."""
    return track_id if re.fullmatch(f"{SPOTIFY_ID}|{RECORDING_ID}", track_id) else None
