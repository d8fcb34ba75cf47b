"""Ids of tracks that a service gives, and the links and URIs that hold them."""

from __future__ import annotations

SPOTIFY_ID = "[0-9A-Za-z]{22}"
RECORDING_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""Of MusicBrainz."""
TRACK_LINK, RECORDING_LINK = "https://open.spotify.com/track/", "https://musicbrainz.org/recording/"
TRACK_URI = r"^(?:spotify:track:|https?://open\.spotify\.com/(?:intl-[a-z]+/)?track/)?([0-9A-Za-z]+)(?:\?.*)?$"
"""An id, a URI or a link of a file, whose ids may be of any length."""
RECORDING_URI = rf"^https?://musicbrainz\.org/recording/({RECORDING_ID})$"
