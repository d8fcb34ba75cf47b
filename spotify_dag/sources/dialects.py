"""Every kind of table that is read, by name. A table is known by its headings alone, never by where its columns are.

A heading means the same in every table that has it, so one vocabulary names the fields, and a dialect adds what it
alone means. Facts on the headings come from the tools' own sources and from files that people published.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from spotify_dag.sources.artists import Joined

ITEMS, PLAYS = "items", "plays"
"""A row is an item of a playlist, or one or more plays of a track."""

VOCABULARY: Mapping[str, str] = {
    heading: name
    for name, headings in {
        "track_uri": (
            "track uri", "track id", "spotify uri", "spotify id", "spotify track id", "spotify track uri", "track url",
            "spotify url", "spotify link", "spotify track url", "uri",
        ),
        "track_name": (
            "track name", "track", "track title", "song", "song name", "song title", "title", "trackname", "name",
            "songtitle", "titel", "titre", "título", "titolo", "título de la canción", "nombre", "nom", "nome", "naam",
            "название", "曲名", "タイトル", "노래", "标题", "歌曲",
        ),
        "artist_names": (
            "artist name(s)", "artist names", "artist name", "artists", "artist", "artistname", "track artist",
            "track artists", "artist(s)", "artist(s) name", "creator", "performer", "singer", "band", "interpret",
            "künstler", "artiste", "artistes", "artista", "artistas", "artisti", "artiest", "artiesten", "sanatçı",
            "исполнитель", "wykonawca", "アーティスト", "艺术家", "歌手", "아티스트", "interprète", "intérprete",
        ),
        "artist_uris": ("artist uri(s)", "artist uri", "artist ids", "artist id(s)", "artist id", "artist uris"),
        "album_name": (
            "album name", "album", "album title", "release name", "albumname", "track album name", "álbum",
            "albumtitel", "albumtitle", "альбом", "アルバム", "专辑",
        ),
        "album_artist": ("album artist name(s)", "album artist", "album artist name", "albumartist"),
        "released": (
            "album release date", "release date", "track album release date", "album date", "release year", "year",
            "album release year", "track year",
        ),
        "popularity": ("popularity", "track popularity"),
        "explicit": ("explicit",),
        "playlist_name": ("playlist name", "playlist", "playlist title", "playlistname", "list name"),
        "playlist_id": ("playlist id", "playlist uri"),
        "playlist_type": ("type", "playlist type"),
        "user": ("user id", "userid", "user", "username", "user name"),
        "played_at": (
            "utc time", "uts", "played at", "timestamp", "date played", "listened at", "scrobbled at", "time ms",
            "event start timestamp", "last played date", "ts", "end time",
        ),
        "milliseconds": ("ms played", "play duration milliseconds", "stream duration ms"),
        "plays": ("plays", "play count", "playcount", "scrobbles", "track play count", "listen count", "times played"),
        "added_at": ("added at",),
        "description": ("track description",),
    }.items()
    for heading in headings
}  # fmt: skip
"""What headings mean, as `normalised` writes them, where no dialect says otherwise."""


@dataclass(frozen=True)
class Dialect:
    """One kind of table."""

    name: str
    needed: tuple[str, ...]
    """Headings that tell it, as `normalised` writes them."""
    joined: Joined
    kind: str = ITEMS
    columns: Mapping[str, str] = field(default_factory=dict)
    """Fields of headings that mean something else here than in `VOCABULARY`, or nothing ("")."""
    absent: tuple[str, ...] = ()
    """Headings that it never has."""
    quoted: bool = True
    """Whether quotation marks mean anything."""
    layout: tuple[str, ...] = ()
    """All of its headings in order, where the tool writes them so: a damaged heading is made out against it."""
    ends_early: bool = False
    """Whether its rows may leave out their last cells."""


MORE_ARTISTS = range(2, 10)
"""Numbers of further columns of artists, in tables with a column for each: their fields are ``artist_2`` and so on."""

_NET_AUDIO = (
    "danceability", "energy", "key", "loudness", "mode", "speechiness", "acousticness", "instrumentalness", "liveness",
    "valence", "tempo", "time signature",
)  # fmt: skip


def _net(first: tuple[str, ...], later: tuple[str, ...]) -> tuple[str, ...]:
    middle = ("album name", "artist name(s)", "release date", "duration (ms)", "popularity")
    return (*first, "track name", *middle, *later, *_NET_AUDIO)


_NET_2025 = _net(("track uri",), ("explicit", "added by", "added at", "genres", "record label"))
_NET_URI = _net(("track uri",), ("added by", "added at", "genres", "record label"))
_NET_ID = _net(("track id",), ("added by", "added at", "genres", "record label"))
_NET_OLD = (
    "spotify id", "artist ids", "track name", "album name", "artist name(s)", "release date", "duration (ms)",
    "popularity", "added by", "added at", "genres", *_NET_AUDIO,
)  # fmt: skip
_NET_IDS = tuple(heading for heading in _NET_OLD if heading != "artist ids")
_NET_BARE = _net((), ("added by", "added at", "genres", "record label"))

_APP_FIELDS = (
    "track_uri", "track_name", "artist_uris", "artist_names", "", "album_name", "", "album_artist", "released", "", "",
    "", "", "", "explicit", "popularity",
)  # fmt: skip
"""What the first columns of exportify.app hold, in any language."""
_APP_LOCALES = {
    "en": "Track URI|Track Name|Artist URI(s)|Artist Name(s)|Album URI|Album Name|Album Artist URI(s)|"
    "Album Artist Name(s)|Album Release Date|Album Image URL|Disc Number|Track Number|Track Duration (ms)|"
    "Track Preview URL|Explicit|Popularity|ISRC|Added By|Added At",
    "de": "Track-URI|Track-Name|Künstler-URI(s)|Künstlername(n)|Album-URI|Album-Name|Album-Künstler-URI(s)|"
    "Album-Künstlername(n)|Veröffentlichungsdatum des Albums|Album-Bild-URL|Disc-Nummer|Track-Nummer|Track-Dauer (ms)|"
    "Track-Vorschau-URL|Explizit|Beliebtheit|ISRC|Hinzugefügt von|Hinzugefügt am",
    "es": "URI de la canción|Nombre de la canción|URI(s) del artista|Nombre(s) del artista|URI del álbum|"
    "Nombre del álbum|URI(s) del artista del álbum|Nombre(s) del artista del álbum|Fecha de lanzamiento del álbum|"
    "URL de la imagen del álbum|Número de disco|Número de la canción|Duración de la canción (ms)|"
    "URL de vista previa de la canción|Explícito|Popularidad|ISRC|Añadido por|Añadido en",
    "fr": "URI du titre|Nom du titre|URI(s) de l'artiste|Nom(s) de l'artiste|URI de l'album|Nom de l'album|"
    "URI(s) de l'artiste de l'album|Nom(s) de l'artiste de l'album|Date de sortie de l'album|"
    "URL de l'image de l'album|Numéro de disque|Numéro du titre|Durée du titre (ms)|"
    "URL de prévisualisation du titre|Explicite|Popularité|ISRC|Ajouté par|Ajouté le",
    "it": "URI della traccia|Nome della traccia|URI dell'artista|Nome dell'artista|URI dell'album|Nome dell'album|"
    "URI dell'artista dell'album|Nome dell'artista dell'album|Data di rilascio dell'album|"
    "URL dell'immagine dell'album|Numero del disco|Numero della traccia|Durata della traccia (ms)|"
    "URL di anteprima della traccia|Esplicito|Popolarità|ISRC|Aggiunto da|Aggiunto il",
    "ja": "トラックURI|トラック名|アーティストURI|アーティスト名|アルバムURI|アルバム名|アルバムアーティストURI|"
    "アルバムアーティスト名|アルバム発売日|アルバム画像URL|ディスク番号|トラック番号|トラックの長さ（ミリ秒）|"
    "トラックプレビューURL|明示的な内容|人気度|ISRC|追加者|追加日時",
    "nl": "Nummer URI|Nummernaam|Artiest-URI|Naam van artiest|Album-URI|Naam van album|Artiest-URI van het album|"
    "Naam van artiest op het album|Releasedatum van het album|Album afbeelding-URL|Schijfnummer|Nummernummer|"
    "Nummerduur (ms)|Voorbeeld-URL|Expliciet|Populariteit|ISRC|Toegevoegd door|Toegevoegd op",
    "pt": "URI da faixa|Nome da faixa|URI(s) do artista|Nome(s) do artista|URI do álbum|Nome do álbum|"
    "URI(s) do artista do álbum|Nome(s) do artista do álbum|Data de lançamento do álbum|URL da imagem do álbum|"
    "Número do disco|Número da faixa|Duração da faixa (ms)|URL de prévia da faixa|Explícita|Popularidade|ISRC|"
    "Adicionado por|Adicionado em",
    "sv": "Låtens URI|Låtens namn|Artistens URI|Artistens namn|Albumets URI|Albumets namn|Albumartistens URI|"
    "Albumartistens namn|Albumets releasedatum|Albumets bild-URL|Skivnummer|Låtnummer|Låtlängd (ms)|"
    "Förhandsgranskning URL|Explicit|Popularitet|ISRC|Tillagd av|Tillagd vid",
    "tr": "Parça URI|Parça Adı|Sanatçı URI|Sanatçı Adı|Albüm URI|Albüm Adı|Albümdeki Sanatçı URI|"
    "Albümdeki Sanatçı Adı|Albüm Çıkış Tarihi|Albüm Resim URL'si|Disk Numarası|Parça Numarası|Parça Süresi (ms)|"
    "Parça Önizleme URL'si|Açık İçerik|Popülerlik|ISRC|Ekleyen|Eklenme Tarihi",
    "ar": "رابط الأغنية (URI)|اسم الأغنية|روابط الفنانين (URI)|أسماء الفنانين|رابط الألبوم (URI)|اسم الألبوم|"
    "روابط فناني الألبوم (URI)|أسماء فناني الألبوم|تاريخ إصدار الألبوم|رابط صورة الألبوم|رقم القرص|رقم الأغنية|"
    "مدة الأغنية (بالمللي ثانية)|رابط معاينة الأغنية|صريح|الشعبية|ISRC|أضيف بواسطة|أضيف في",
    "el": "URI κομματιού|Όνομα κομματιού|URI καλλιτέχνη/ων|Όνομα/τα καλλιτέχνη|URI άλμπουμ|Όνομα άλμπουμ|"
    "URI καλλιτέχνη/ων άλμπουμ|Όνομα/τα καλλιτέχνη άλμπουμ|Ημερομηνία κυκλοφορίας άλμπουμ|URL εικόνας άλμπουμ|"
    "Αριθμός δίσκου|Αριθμός κομματιού|Διάρκεια κομματιού (ms)|URL προεπισκόπησης κομματιού|Ακατάλληλο|Δημοτικότητα|"
    "ISRC|Προστέθηκε από|Προστέθηκε στις",
}
"""Headings of exportify.app in each of its languages, in order."""
EXPORTIFY_APP_HEADINGS = tuple(_APP_LOCALES["en"].split("|"))


@cache
def normalised(heading: str) -> str:
    """Return a heading as it is compared: lower case, words one space apart, no ``_``, ``-`` or quotes."""
    text = unicodedata.normalize("NFKC", heading).replace("\ufeff", "").strip().strip("\"'").strip()
    text = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", text.replace("ı", "i").replace("İ", "i"))
    return " ".join(re.sub(r"[_\-–]", " ", text.casefold()).split())


def _app(locale: str) -> Dialect:
    layout = tuple(normalised(heading) for heading in _APP_LOCALES[locale].split("|"))
    columns = {heading: name for heading, name in zip(layout, _APP_FIELDS, strict=False) if name}
    needed = tuple(
        layout[_APP_FIELDS.index(name)] for name in ("track_uri", "track_name", "artist_uris", "artist_names")
    )
    return Dialect(f"exportify.app ({locale})", needed, Joined.ESCAPED, columns=columns, layout=layout)


def _exportify_net(name: str, layout: tuple[str, ...], *needed: str, absent: tuple[str, ...] = ()) -> Dialect:
    needed = (*needed, "track name", "artist name(s)")
    return Dialect(
        f"exportify.net ({name})", needed, Joined.EITHER, layout=layout, ends_early=True,
        absent=("artist uri(s)", "artist uri", *absent),
    )  # fmt: skip


DIALECTS: tuple[Dialect, ...] = (
    *(_app(locale) for locale in _APP_LOCALES),
    Dialect(
        "exportify.app (until 2021)", ("track uri", "track name", "artist uri", "artist name", "album uri"),
        Joined.ESCAPED,
    ),
    Dialect(
        "Exportify (until 2019)", ("spotify uri", "track name", "artist name"), Joined.COMMA_SPACE,
        absent=("artist uri", "type"),
    ),
    Dialect(
        "Exportify (until 2018)", ("spotify id", "track name", "artist name", "added at"), Joined.COMMA_SPACE,
        absent=("artist uri", "type"),
    ),
    _exportify_net("since May 2025", _NET_2025, "track uri", "explicit"),
    _exportify_net("April 2025", _NET_URI, "track uri", "release date"),
    _exportify_net("September 2024", _NET_ID, "track id", "release date"),
    _exportify_net("2019 to 2024", _NET_OLD, "spotify id", "artist ids"),
    _exportify_net("2019 to 2024, ids alone", _NET_IDS, "spotify id", "release date"),
    _exportify_net("without ids", _NET_BARE, "album name", "release date", "added at", absent=("track uri",)),
    Dialect("TuneMyMusic", ("track name", "artist name", "playlist name", "type"), Joined.COMMA_SPACE),
    Dialect("TuneMyMusic (one list)", ("track name", "artist name", "isrc"), Joined.COMMA_SPACE, absent=("track uri",)),
    Dialect("Soundiiz", ("title", "artist", "album", "isrc"), Joined.COMMA_SPACE),
    Dialect(
        "Chosic", ("song", "artist", "spotify track id"), Joined.COMMA_SPACE,
        columns={"time": "", "genres": "", "parent genres": ""},
    ),
    Dialect("Pichl: Spotify Playlists", ("user id", "artistname", "trackname", "playlistname"), Joined.LISTED),
    Dialect(
        "lastfm.ghan.nl", ("uts", "artist", "track"), Joined.LISTED, PLAYS, columns={"artist mbid": "artist_uris"}
    ),
    Dialect("Last.fm, with a date", ("artist", "track", "date"), Joined.LISTED, PLAYS, columns={"date": "played_at"}),
    Dialect("Last.fm, date and time", ("artist", "track", "datetime"), Joined.LISTED, PLAYS,
            columns={"datetime": "played_at"}),
    Dialect("Libre.fm", ("time", "artist", "track"), Joined.LISTED, PLAYS, columns={"time": "played_at"}),
    Dialect("Pano Scrobbler", ("time ms", "artist", "track"), Joined.LISTED, PLAYS),
    Dialect("ListenBrainz", ("listened at", "artist name", "track name"), Joined.LISTED, PLAYS),
    Dialect("Maloja", ("time", "artists", "title"), Joined.LISTED, PLAYS, columns={"time": "played_at"}),
    Dialect("Spotify, history as a table", ("ms played", "track name", "artist name"), Joined.LISTED, PLAYS),
    Dialect(
        "Spotify, extended history as a table",
        ("ms played", "master metadata track name", "master metadata album artist name"), Joined.LISTED, PLAYS,
        columns={
            "master metadata track name": "track_name", "master metadata album artist name": "artist_names",
            "master metadata album album name": "album_name", "spotify track uri": "track_uri", "username": "",
        },
    ),
    Dialect(
        "Apple Music, daily tracks", ("track description", "play duration milliseconds"), Joined.LISTED, PLAYS,
        columns={"play count": "plays"},
    ),
    Dialect(
        "Apple Music, track history", ("track name", "last played date", "is user initiated"), Joined.LISTED, PLAYS,
        columns={"track name": "description"},
    ),
    Dialect(
        "Apple Music, play activity", ("artist name", "content name", "play duration milliseconds"), Joined.LISTED,
        PLAYS, columns={"content name": "track_name"},
    ),
    Dialect(
        "Apple Music, play activity since 2022", ("song name", "container artist name", "play duration milliseconds"),
        Joined.LISTED, PLAYS, columns={"container artist name": "artist_names"},
    ),
    Dialect("Tidal", ("artist name", "track title", "stream duration ms"), Joined.LISTED, PLAYS),
    Dialect(
        "YouTube Music, library", ("song title", "artist names"), Joined.COMMA_SPACE, columns={"song url": ""},
    ),
    Dialect(
        "YouTube Music, library and uploads", ("song title", "artist name 1"), Joined.LISTED,
        columns={"artist name 1": "artist_names"} | {f"artist name {n}": f"artist_{n}" for n in MORE_ARTISTS},
    ),
    Dialect("Kaggle tracks", ("id", "name", "artists"), Joined.LISTED, columns={"id": "track_uri"}),
    Dialect("a table of plays", ("played at",), Joined.LISTED, PLAYS),
    Dialect("a table of tracks", (), Joined.LISTED),
)  # fmt: skip
"""Named dialects, the most particular first: the first that fits is the one. The last takes any table that names
titles and artists."""
HEADLESS_LASTFM = Dialect(
    "lastfm-to-csv",
    (),
    Joined.LISTED,
    PLAYS,
    layout=("artist", "album", "track", "date"),
    columns={"date": "played_at"},
)
SCROBBLER_LOG = Dialect(
    ".scrobbler.log", (), Joined.LISTED, PLAYS, quoted=False,
    layout=("artist", "album", "track", "number", "seconds", "rating", "timestamp", "mbid"),
    columns={"seconds": "seconds", "rating": "rating"},
)  # fmt: skip
NEEDED = (("track_name", "artist_names"), ("description",))
"""Fields without which a table tells nothing: all of one of these."""


def fields_of(dialect: Dialect, headings: Sequence[str]) -> dict[str, int]:
    """Return in which column each field of a table is; of two columns with one heading it is the first."""
    places: dict[str, int] = {}
    for place, heading in enumerate(map(normalised, headings)):
        name = dialect.columns.get(heading, VOCABULARY.get(heading, ""))
        if name and (name not in places or _closer(name, heading, normalised(headings[places[name]]))):
            places[name] = place
    return places


def _closer(name: str, heading: str, other: str) -> bool:
    """Whether a heading is the better one of two that mean the same: the one named earlier in `VOCABULARY`."""
    order = [named for named, means in VOCABULARY.items() if means == name]
    return heading in order and other in order and order.index(heading) < order.index(other)


def recognise(headings: Sequence[str]) -> Dialect | None:
    """Return the dialect of a table by its headings; None where they name no titles and artists."""
    names = {normalised(heading) for heading in headings}
    for dialect in DIALECTS:
        if names.issuperset(dialect.needed) and names.isdisjoint(dialect.absent):
            fields = fields_of(dialect, headings)
            if any(all(name in fields for name in needed) for needed in NEEDED):
                return dialect
    return None


def resembled(headings: Sequence[str]) -> Dialect | None:
    """Return the dialect of a damaged heading: as many cells as its layout, and more than half of them equal."""
    names = [normalised(heading) for heading in headings]
    best: tuple[int, Dialect | None] = (0, None)
    for dialect in (dialect for dialect in DIALECTS if dialect.layout):
        width = len(dialect.layout)
        same = sum(name == expected for name, expected in zip(names, dialect.layout, strict=False))
        if len(names) >= width and same > max(best[0], width / 2):
            best = (same, dialect)
    return best[1]
