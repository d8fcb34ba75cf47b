"""At the door: what was handed in is read once, and only what the lake needs of it goes on."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from spotify_dag.sources.base import COUNTED, Fault, SourceError, clean, no_rejects, rejects_of
from spotify_dag.sources.dialects import PLAYS
from spotify_dag.sources.export.account import LIKED, read_library, read_playlists, read_plays
from spotify_dag.sources.export.archive import UNREADABLE, HandedIn, Member, handed_in
from spotify_dag.sources.export.kept import kept_frame, months_frame
from spotify_dag.sources.export.kinds import TELLS_NOTHING, Kind, kind_of
from spotify_dag.sources.export.lists import ONCE, Lists
from spotify_dag.sources.export.plays import PLAYED, Plays
from spotify_dag.sources.export.rows import LOCAL, NO_PLAYS, PODCAST, Chunk, Playlist
from spotify_dag.sources.export.scrobbles import (
    read_apple_library,
    read_jspf,
    read_listens,
    read_scrobbles,
    read_watched,
    read_xspf,
)
from spotify_dag.sources.export.texts import read_m3u, read_text
from spotify_dag.sources.listening_months import Months, merged, month_of, month_of_text
from spotify_dag.sources.tables import OpenTable, open_scrobbler_log, open_tracks
from spotify_dag.sources.track_links import RECORDING_URI, TRACK_URI

if TYPE_CHECKING:
    import polars as pl

REMEDY = (
    "Give Exportify's CSV files, or Playlist1.json, YourLibrary.json, StreamingHistory_music_0.json or "
    "Streaming_History_Audio_….json of Spotify's own export: one file, a folder or the zip as downloaded. "
    "docs/reference/exported-files.md lists the others."
)
FIRST_PLAYLIST = 4
"""Place of the first playlist: plays, liked songs, albums and artists come before."""
MAX_ITEMS, MAX_ARTISTS = 200_000, 10_000
"""Of one person, as read: all that is made of them later costs by these. Of plays, those played most are kept."""
MAX_WHOLE_NAMES = 100_000
"""Names with a comma that are remembered: of the 80,000 best known artists some 200 have one."""
MAX_ROWS = 5_000_000
"""Rows looked at: plays of 50 years."""
MAX_REJECTS = 10_000
"""Rejects listed one by one; of more, only the number is kept."""
LIKED_NAMES = frozenset({"liked", "likedsongs", "liked songs", "favorite songs", "favourite songs", "lieblingssongs"})
"""What tools call the list of liked songs, lower case and without underscores."""
LIKED_TYPES = frozenset({"favorite", "favourite", "favorites", "liked"})


@dataclass(frozen=True)
class FileRead:
    """A file that was read."""

    name: str
    what: str
    """What it is: the dialect of a table, or the reader."""
    encoding: str = "utf-8"


class Reading:
    """One person's files as records; what was found is counted meanwhile.

    Parameters
    ----------
    paths
        Files, folders or zips; one or several.
    user_id
        Whose listening it is.
    earlier
        Records of the same person that were kept before, to which these are added: every list once, and of each track
        the greater number of plays, as a new history tells of the old plays again.
    artist_names
        Gives names of artists, for tables that join artists by a comma and a space. It is asked only for those.
    earlier_months
        Counts of months (`listening_months.COLUMNS`) of the same person that were kept before.
    """

    def __init__(
        self, paths: Path | Sequence[Path], user_id: str, earlier: pl.DataFrame | None = None, *,
        artist_names: Callable[[], Iterable[str]] = tuple, earlier_months: pl.DataFrame | None = None,
    ) -> None:  # fmt: skip
        self._earlier, self._earlier_months = earlier, earlier_months
        self._artist_names = artist_names
        self.paths = [paths] if isinstance(paths, Path) else list(paths)
        self.user_id = user_id
        self.read: list[FileRead] = []
        """Files that were read."""
        self.not_read: list[tuple[str, str]] = []
        """Files that were not, and why."""
        self.notes: list[str] = []
        """What somebody should know of what was read."""
        self.skipped: Counter[tuple[str, str]] = Counter()
        """Rows that are no music, or do not count, by file and reason."""
        self.kept: Counter[str] = Counter()
        """Rows kept, by list."""
        self.plays = 0
        """Plays that count."""
        self.rejected: Counter[str] = Counter()
        """Rows left out for a fault, by reason."""
        self.values: Counter[str] = Counter()
        """Values left out of rows that were kept, by field and reason."""
        self.mended = 0
        """Names that somebody decoded wrongly before, and that were mended."""
        self._lists = Lists()
        self._played, self._added = Months(), Months()
        self._rejects_left = MAX_REJECTS
        self._items_left, self._rows_left = MAX_ITEMS, MAX_ROWS
        self._artists: set[str] = set()
        self._users: dict[str, None] = {}
        """Users that tables name, in order."""
        self._whole_names: set[str] = set()
        """Names of artists that hold a comma and a space, in `str.casefold`."""
        self._numbers = itertools.count()

    @property
    def files(self) -> list[str]:
        """Files that were read, without folders."""
        return [file.name.rpartition("/")[2] for file in self.read]

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield what is kept, `kept.KEPT_COLUMNS` in bounded memory; `skipped`, `kept` and so on are whole afterwards.

        Raises
        ------
        SourceError
            If what was handed in cannot be opened, is refused, is of two people, or holds no listening.
        """
        plays = Plays()
        yield from self._kept_before()
        with handed_in(*self.paths) as files:
            for member, kind in self._survey(files):
                yield from self._file(member, kind, plays)
        library = self._with_earlier_plays(plays.library())
        self.plays = int(library["plays"].sum())
        yield self._kept(library, "", [])
        if not self.kept.total():
            raise SourceError(self._why_nothing())
        for (file, reason), count in sorted(self.skipped.items()):
            fault = Fault(None, self.user_id, COUNTED, str(count), reason, dropped=False)
            yield kept_frame(None, rejects_of([fault], file=file))

    def months(self) -> Iterator[pl.DataFrame]:
        """Yield how often artists were listened to in each month, as `kept.months_frame`, after `frames` is exhausted.

        By the plays of files that tell when, else by when items were added to lists.
        """
        counts = self._played.rows()
        counts = counts if counts.height else self._added.rows()
        yield months_frame(counts if self._earlier_months is None else merged(counts, self._earlier_months))

    def skipped_rows(self) -> Counter[str]:
        """Return how many rows are no music, or do not count, by reason."""
        counts: Counter[str] = Counter()
        for (_, reason), count in self.skipped.items():
            counts[reason] += count
        return counts

    def report(self, most: int | None = None) -> dict[str, Any]:
        """Return what was read, what was not and why, once `frames` is exhausted; at most ``most`` files of each."""
        read = [{"file": file.name, "what": file.what, "encoding": file.encoding} for file in self.read]
        return {
            "files": self.files[:most],
            "files_read": read[:most],
            "files_not_read": [{"file": name, "reason": why} for name, why in self.not_read][:most],
            "n_files_read": len(self.read),
            "n_files_not_read": len(self.not_read),
            "notes": self.notes,
            "lists": len(self.kept),
            "rows_kept": self.kept.total(),
            "plays": self.plays,
            "left_out": dict(self.skipped_rows().most_common()),
            "rejected": dict(self.rejected.most_common()),
            "values_left_out": dict(self.values.most_common()),
            "names_mended": self.mended,
        }

    def _kept_before(self) -> Iterator[pl.DataFrame]:
        import polars as pl

        if self._earlier is None:
            return
        for part in self._earlier.filter(pl.col("playlist_id") != PLAYED.id).partition_by(
            "playlist_id", maintain_order=True
        ):
            rows = part
            if part["playlist_id"][0] not in ONCE:
                made = self._new_playlist(None)
                place = pl.lit(made.position, pl.Int32).alias("playlist_position")
                rows = part.with_columns(pl.lit(made.id).alias("playlist_id"), place)
            yield self._kept(self._lists.merge(rows, ("earlier",)).drop("again").select(part.columns), "", [])

    def _with_earlier_plays(self, library: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        if self._earlier is None:
            return library
        names = ["artist_name", "track_name"]
        both = pl.concat([library, self._earlier.filter(pl.col("playlist_id") == PLAYED.id)])
        most = both.sort("plays", descending=True, maintain_order=True).unique(names, keep="first", maintain_order=True)
        return most.with_columns(pl.int_range(pl.len(), dtype=pl.Int32).alias("position"))

    def _survey(self, files: HandedIn) -> list[tuple[Member, Kind]]:
        """Return the files to read with their kinds; the others are listed, and so are copies of one file."""
        self.not_read += files.unread
        sizes = Counter(member.size for member in files.members)
        first_of: dict[tuple[int, int], Member] = {}
        accounts: dict[tuple[str, str], tuple[str, str]] = {}
        to_read: list[tuple[Member, Kind]] = []
        for member in files.members:
            kind = kind_of(member)
            if kind.account:
                accounts.setdefault((kind.service, kind.account.casefold()), (kind.account, str(member.path)))
            if not kind.reader:
                self.not_read.append((str(member.path), kind.why_not))
                continue
            if sizes[member.size] > 1 and (same := self._same(member, first_of)) is not None:
                self.not_read.append((str(member.path), f"the same as {same.path}"))
                continue
            to_read.append((member, kind))
        self._of_one_person(accounts)
        self._warn_of_downloads(to_read)
        # Tables that do not tell a comma in a name from one between names come last: other files may have told.
        to_read.sort(key=lambda files: files[1].names_may_be_joined)
        if any(kind.names_may_be_joined for _, kind in to_read):
            self._learn_names(self._artist_names())
        return to_read

    def _learn_names(self, names: Iterable[str | None]) -> None:
        """Remember names that hold a comma and a space."""
        room = MAX_WHOLE_NAMES - len(self._whole_names)
        with_comma = (name.casefold() for name in names if name and ", " in name)
        self._whole_names.update(itertools.islice(with_comma, max(0, room)))

    def _same(self, member: Member, first_of: dict[tuple[int, int], Member]) -> Member | None:
        try:
            key = (member.size, member.checksum())
        except UNREADABLE:
            return None
        first = first_of.setdefault(key, member)
        same_list = member.copy[0] == first.copy[0] or not member.name.lower().endswith((".csv", ".txt", ".tsv"))
        return first if first is not member and same_list else None

    def _of_one_person(self, accounts: dict[tuple[str, str], tuple[str, str]]) -> None:
        for service in {service for service, _ in accounts}:
            people = [account for (of, _), account in accounts.items() if of == service]
            if len(people) > 1:
                who = " and ".join(f"{name!r} ({file})" for name, file in people[:3])
                raise SourceError(
                    f"'{self.paths[0]}' holds the listening of {len(people)} people: {who}. Hand in each on their own."
                )

    def _warn_of_downloads(self, to_read: Sequence[tuple[Member, Kind]]) -> None:
        """Say where two downloads lie that nothing tells to be of one person."""
        places: dict[tuple[str, str], set[str]] = {}
        for member, kind in to_read:
            if kind.reader in ("library", "playlists", "plays") and not kind.account:
                places.setdefault((kind.reader, member.copy[0].lower()), set()).add(str(member.path.parent))
        doubled = sorted({place for folders in places.values() if len(folders) > 1 for place in folders})
        if doubled:
            self.notes.append(
                f"{len(doubled)} downloads in {', '.join(doubled[:5])}: they are taken for one person's. People are "
                "handed in one by one."
            )

    def _file(self, member: Member, kind: Kind, plays: Plays) -> Iterator[pl.DataFrame]:
        name = str(member.path)
        what = FileRead(name, kind.service if kind.reader == "table" else kind.reader)
        self.read.append(what)
        try:
            with member.open() as stream:
                for chunk in self._chunks(kind, stream, member):
                    yield self._judged(chunk, member, plays, kind)
                    self._rows_left -= 0 if chunk.rows is None else chunk.rows.height
                    if not self._items_left or self._rows_left <= 0:
                        most = f"{MAX_ITEMS:,} items" if not self._items_left else f"{MAX_ROWS:,} rows"
                        fault = Fault(None, None, "file", None, f"one person has more than {most}: not read on")
                        yield self._kept(None, member.name, [fault])
                        return
        except UNREADABLE as error:  # What came before it is kept.
            fault = Fault(None, self.user_id, "file", None, f"cannot be read on: {error}")
            yield self._kept(None, member.name, [fault])

    def _chunks(self, kind: Kind, stream: IO[bytes], member: Member) -> Iterator[Chunk]:
        readers: dict[str, Callable[[], Iterator[Chunk]]] = {
            "table": lambda: self._table(open_tracks(stream), member),
            "scrobbler log": lambda: self._table(open_scrobbler_log(stream), member),
            "playlists": lambda: read_playlists(stream, self._new_playlist),
            "jspf": lambda: read_jspf(stream, self._new_playlist),
            "xspf": lambda: read_xspf(stream, self._new_playlist),
            "m3u": lambda: read_m3u(stream, self._new_playlist),
            "text": lambda: read_text(stream, self._new_playlist),
            "apple library": lambda: read_apple_library(stream, self._new_playlist("Library")),
            "library": lambda: read_library(stream),
            "plays": lambda: read_plays(stream),
            "listens": lambda: read_listens(stream),
            "watched": lambda: read_watched(stream),
            "scrobbles": lambda: read_scrobbles(stream),
        }
        return readers[kind.reader]()

    def _table(self, table: OpenTable | list[str], member: Member) -> Iterator[Chunk]:
        """Yield the rows of a table as items of lists, or as plays."""
        import polars as pl

        if isinstance(table, list):  # It begins as one, and goes on as another.
            return
        made: dict[str, Playlist] = {}
        title = _title(member.name)

        def playlist(name: str | None, kind: str | None) -> Playlist:
            key = f"{name}"
            if key not in made:
                liked = (kind or "").lower() in LIKED_TYPES or (name or "").lower().replace("_", " ") in LIKED_NAMES
                made[key] = LIKED if liked else self._new_playlist(name)
            return made[key]

        for frame, faults in table.chunks(whole_names=self._whole_names):
            absent = [
                name
                for name in ("track_uri", "playlist_name", "playlist_type", "album_name")
                if name not in frame.columns
            ]
            self._of_one_user(frame, member)
            rows = frame.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
            if table.decoder.encoding != "utf-8" and self.read[-1].encoding == "utf-8":
                self.read[-1] = FileRead(self.read[-1].name, self.read[-1].what, table.decoder.encoding)
            rows = rows.with_columns(_not_music(rows.columns), *_plays_of(rows.columns))
            if table.dialect.kind != PLAYS:
                names = rows.select(pl.coalesce("playlist_name", pl.lit(title, pl.String))).to_series()
                lists = [playlist(*pair) for pair in zip(names, rows["playlist_type"], strict=True)]
                rows = rows.with_columns(
                    pl.Series("playlist_id", [made_list.id for made_list in lists], pl.String),
                    pl.Series("playlist_name", [made_list.name for made_list in lists], pl.String),
                    pl.Series("playlist_position", [made_list.position for made_list in lists], pl.Int32),
                    pl.col("index").cast(pl.Int32).alias("position"),
                ).drop(name for name in ("milliseconds", "played_at", "plays") if name in rows.columns)
            yield Chunk(rows.rename({"released": "release_year"} if "released" in rows.columns else {}), faults)

    def _of_one_user(self, frame: pl.DataFrame, member: Member) -> None:
        """Refuse a table that names several users."""
        if "user" in frame.columns:
            self._users |= dict.fromkeys(frame["user"].drop_nulls().unique(maintain_order=True).head(2).to_list())
        if len(self._users) > 1:
            first, second = list(self._users)[:2]
            raise SourceError(
                f"'{member.path}' holds the listening of several people, such as {first[:80]!r} and {second[:80]!r}. "
                "Hand in each on their own, or read a table of playlists with: spotify-dag run --source spotify-songs"
            )

    def _new_playlist(self, name: Any) -> Playlist:
        number = next(self._numbers)
        return Playlist(f"playlist-{number}", FIRST_PLAYLIST + number, name)

    def _judged(self, chunk: Chunk, member: Member, plays: Plays, kind: Kind) -> pl.DataFrame:
        """Return the records and rejects of a chunk; its plays are counted instead."""
        import polars as pl

        file, rows, faults = member.name, chunk.rows, list(chunk.faults)
        if rows is None:
            return self._kept(None, file, faults)
        if "artists" not in rows.columns:
            rows = rows.with_columns(
                pl.concat_list(pl.col("artist_name").cast(pl.String)).list.drop_nulls().alias("artists")
            )
        played = "playlist_id" not in rows.columns
        if played:
            rows, wrong = plays.judge(rows, kind.service)
            faults += wrong
        else:
            rows = self._lists.merge(rows, member.download)
            again = pl.coalesce("skipped", "again")
            rows = rows.with_columns(again.alias("skipped"))
        for reason, count in rows["skipped"].drop_nulls().value_counts().sort("skipped").iter_rows():
            self.skipped[file, reason] += count
        time = month_of(pl.col("began")) if played else pl.lit(None, pl.Int32)
        if "added_at" in rows.columns:
            time = month_of_text(pl.col("added_at"))
        music = rows.filter(pl.col("skipped").is_null()).with_columns(
            time.alias("month"),
            pl.lit(self.user_id).alias("user_id"),
            pl.coalesce(pl.col("track_uri").str.extract(uri) for uri in (TRACK_URI, RECORDING_URI)).alias("track_id"),
        )
        odd = music.filter(pl.col("track_uri").is_not_null() & pl.col("track_id").is_null())["row"]
        # Not the value itself: in a damaged row it may be part of another one.
        faults += [Fault(row, None, "track_id", None, "not the URI of a track", dropped=False) for row in odd]
        batch = clean(music, file=file)
        self.mended += batch.mended
        if not kind.names_may_be_joined:
            self._learn_names(batch.records["artists"].explode())
        (self._played if played else self._added).add(batch.records)
        records = batch.records.drop("month")
        if played:
            plays.add(records)
        return self._kept(records.clear() if played else records, file, faults, batch.rejects)

    def _kept(
        self, records: pl.DataFrame | None, file: str, faults: Sequence[Fault], rejects: pl.DataFrame | None = None
    ) -> pl.DataFrame:
        """Return records and rejects as one frame, and count them."""
        listed = self._listed(file, faults, no_rejects() if rejects is None else rejects)
        if records is not None:
            records = self._bounded(records, file)
            self.kept.update(dict(records["playlist_id"].value_counts().iter_rows()))
        return kept_frame(records, listed)

    def _listed(self, file: str, faults: Sequence[Fault], rejects: pl.DataFrame) -> pl.DataFrame:
        """Count rejects, and return as many as are listed."""
        import polars as pl

        if not faults and rejects.is_empty():
            return rejects
        of_user = [fault._replace(user_id=self.user_id) for fault in faults]
        all_rejects = pl.concat([rejects_of(of_user, file=file), rejects])
        rows = all_rejects.filter("dropped").unique(["row", "reason"])
        self.rejected.update(dict(rows["reason"].value_counts().iter_rows()))
        values = all_rejects.filter(~pl.col("dropped")).select(pl.format("{}: {}", "field", "reason").alias("what"))
        self.values.update(dict(values["what"].value_counts().iter_rows()))
        listed = all_rejects.head(self._rejects_left)
        self._rejects_left -= listed.height
        for reason, count in all_rejects.slice(listed.height)["reason"].value_counts().iter_rows():
            self.skipped[file, f"{reason} (more than are listed)"] += count
        return listed

    def _bounded(self, records: pl.DataFrame, file: str) -> pl.DataFrame:
        """Return the first records that are not too many, nor of too many artists; the others are counted."""
        import polars as pl

        names = records["artist_name"].unique(maintain_order=True)
        new = [name for name in names if name not in self._artists]
        allowed, refused = new[: MAX_ARTISTS - len(self._artists)], new[MAX_ARTISTS - len(self._artists) :]
        self._artists.update(allowed)
        within = records.filter(~pl.col("artist_name").is_in(refused)) if refused else records
        if within.height < records.height:
            self.skipped[file, f"of more than {MAX_ARTISTS:,} artists of one person"] += records.height - within.height
        if within.height > self._items_left:
            self.skipped[file, f"of more than {MAX_ITEMS:,} items of one person"] += within.height - self._items_left
            within = within.head(self._items_left)
        self._items_left -= within.height
        return within

    def _why_nothing(self) -> str:
        where = ", ".join(f"'{path}'" for path in self.paths[:3])
        others = [(name, why) for name, why in self.not_read if why]
        if not self.read:
            names = [name.rpartition("/")[2] for name, _ in others]
            listed = ", ".join(names[:5]) + (" …" if len(names) > 5 else "") if names else "nothing"
            reasons = "; ".join(f"{name}: {why}" for name, why in others[:3])
            if any(why != TELLS_NOTHING for _, why in others):
                return f"{where} holds no listening ({reasons}). {REMEDY}"
            return f"{where} holds no file of listening; it holds {listed}. {REMEDY}"
        counts = self.rejected + self.skipped_rows()
        why = (
            "; ".join(f"{count:,} of its rows: {reason}" for reason, count in counts.most_common(3)) or "no row at all"
        )
        return f"{where} holds no listening ({why}). {REMEDY}"


def _title(name: str) -> str | None:
    """Return what a playlist is called by the name of its file."""
    for end in (".gz", ".csv", ".tsv", ".txt"):
        if name.lower().endswith(end):
            name = name[: -len(end)]
    return name or None


def _not_music(columns: Sequence[str]) -> pl.Expr:
    import polars as pl

    uri = pl.col("track_uri")
    reason = (
        pl.when(uri.str.contains("^spotify:local:")).then(pl.lit(LOCAL))
        .when(uri.str.contains(r"^spotify:(?:episode|show):|open\.spotify\.com/(?:episode|show)/")).then(pl.lit(PODCAST))
    )  # fmt: skip
    if "rating" in columns:
        reason = reason.when(pl.col("rating") == "S").then(pl.lit(NO_PLAYS))
    if "milliseconds" in columns:
        short = pl.col("milliseconds").cast(pl.Float64, strict=False) < 30_000
        reason = reason.when(short.fill_null(False)).then(pl.lit("played for less than 30 s"))
    return reason.alias("skipped")


def _plays_of(columns: Sequence[str]) -> list[pl.Expr]:
    """Return the columns of a table of plays: without a number in it, a row is one play."""
    import polars as pl

    if "plays" not in columns:
        return []
    number = pl.col("plays").cast(pl.Float64, strict=False)
    return [pl.when(number >= 1).then(number.cast(pl.Int64, strict=False)).otherwise(1).alias("plays")]
