"""ListenBrainz: what users have listened to, by its API. What users submit there is released under CC0."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_dag.settings import Settings
from spotify_dag.sources.base import Batch
from spotify_dag.sources.listed_users import ListedUsersSource, Reading
from spotify_dag.sources.listenbrainz.client import METADATA_ARTISTS, SERVICE, ListenBrainzClient
from spotify_dag.sources.listenbrainz.listens import HATED, LISTENS, LOVED, batch, merged
from spotify_dag.sources.listenbrainz.names import parse_name, user_id_of
from spotify_dag.sources.listenbrainz.reading import MOST_LISTENS, Reader
from spotify_dag.sources.request_ledger import WindowLedger
from spotify_dag.sources.service_errors import ServiceError
from spotify_dag.sources.user_mirror import MirroredUser, UserMirror

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)


class ListenBrainzSource(ListedUsersSource):
    """Users of ListenBrainz. See `ListedUsersSource`."""

    name = "listenbrainz"
    service = SERVICE
    most_listens = MOST_LISTENS
    artist_requests = 100
    """Requests for genres of one run; the others follow with the next ones."""

    @staticmethod
    def url_of(settings: Settings) -> str:
        """Return the root of ListenBrainz' API, or of a simulator."""
        return settings.listenbrainz_api_url

    @staticmethod
    def parse_user(text: str) -> tuple[str, str]:
        """Return id and name of the user that a text names."""
        name = parse_name(text)
        return user_id_of(name), name

    def read_with(self) -> tuple[Any, ...]:
        """Return the settings that decide what is read."""
        return (self.settings.listenbrainz_artists_only,)

    def ledger(self, mirror: UserMirror) -> WindowLedger:
        """Return the ledger of requests."""
        return WindowLedger(mirror.database)

    @contextmanager
    def reading(self, mirror: UserMirror) -> Iterator[Reading]:
        """Give what reads ListenBrainz."""
        client = ListenBrainzClient.of(self.settings, self.ledger(mirror))
        reader = Reader(client, mirror, self.settings.listenbrainz_artists_only, self.most_listens)
        yield Reading(
            reader.look,
            lambda before: fetch_genres(client, mirror, before, self.artist_requests),
            client.web.stop,
            client.web.times.concurrency,
        )

    def batch(self, users: Sequence[MirroredUser], mirror: UserMirror, marked: str | None) -> Batch:
        """Return the rows of users as the mirror has them."""
        return batch(
            {kind: _counts(users, kind, mirror) for kind in (LISTENS, LOVED, HATED)},
            [(user.user_id, user.problem, None) for user in users if user.problem],
            marked=marked,
            gone={user.user_id: user.gone_since for user in users if user.gone_since is not None},
        )


@dataclass(frozen=True)
class OneListener(ListenBrainzSource):
    """One user, read for an answer. What is asked counts in the ledger of the installation like everything else."""

    shared: UserMirror | None = None
    most_listens = 5_000
    artist_requests = 4

    def ledger(self, mirror: UserMirror) -> WindowLedger:
        """Return the ledger of the installation."""
        return WindowLedger((self.shared or mirror).database)


@contextmanager
def one_listener(settings: Settings, name: str, *, folder: Path | None = None) -> Iterator[OneListener]:
    """Give the source of one user; nothing of it is left when the block ends.

    Parameters
    ----------
    settings
        Of the installation.
    name
        Who.
    folder
        Where it is kept meanwhile; None for the system's.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="spotify-dag-") as folder_name:
        listed = Path(folder_name) / "user.txt"
        listed.write_text(name)
        here = OneListener(settings, str(listed))
        with closing(UserMirror.open(here.mirror_path)) as shared:
            yield OneListener(
                settings.model_copy(update={"data": Path(folder_name), "local": None}), str(listed), shared=shared
            )


def fetch_genres(client: ListenBrainzClient, mirror: UserMirror, before: float, requests: int) -> None:
    """Ask for the genres of artists that were not asked for since ``before``, the most heard ones first.

    Genres help and are never required: what goes wrong is logged, and asked for again with the next run.
    """
    due = mirror.artists_due(before, requests * METADATA_ARTISTS)
    for start in range(0, len(due), METADATA_ARTISTS):
        asked = due[start : start + METADATA_ARTISTS]
        try:
            mirror.put_artists(asked, client.artist_genres(asked))
        except ServiceError as error:
            log.warning("No genres from ListenBrainz: %s", error)
            return


def _counts(users: Sequence[MirroredUser], kind: str, mirror: UserMirror) -> pl.DataFrame:
    """Return the counts of users of one kind, with ``user_id``; of those whose rows retention dropped, none."""
    import polars as pl

    frames = [
        merged(mirror.parts(user.user_id, kind)).with_columns(pl.lit(user.user_id).alias("user_id"))
        for user in users
        if not user.dropped
    ]
    empty = merged([]).with_columns(pl.lit(None, pl.String).alias("user_id"))
    return pl.concat([empty, *frames])
