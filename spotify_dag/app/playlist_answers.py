"""A list of tracks as a file to take away."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

from fastapi.responses import Response

from spotify_dag.playlists_out.forms import FORMS, FormName, written
from spotify_dag.playlists_out.track_list import TrackList

AnswerForm = Literal[FormName, "json"]
DESCRIBED: dict[str, Any] = {
    "description": "The answer, or its list of tracks as a file",
    "content": {form.media_type: {"schema": {}} for form in FORMS.values()},
}
"""What an operation may answer with beside JSON, for its description."""
_NOT_IN_NAMES = re.compile(r'[\\/:*?"<>|]')


def playlist_file(title: str, answers: Sequence[Mapping[str, Any]], form: FormName) -> Response:
    """Return answers of `TrackAnswers` as a file that is named after the list."""
    tracks = TrackList.of_answers(title, answers)
    name = quote(_NOT_IN_NAMES.sub("_", tracks.title)[:100] + FORMS[form].endings[0], safe="")
    named = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    return Response(written(tracks, form), headers=named, media_type=FORMS[form].media_type)
