r"""Artists of a track: one cell to names in order, and the names that are nobody's.

The first name is the main artist: what counts for taste, of every source alike. The others are kept beside it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence, Set
from enum import Enum

PLACEHOLDERS = frozenset(
    {
        "various artists", "various artist", "various", "various interprets", "various performers", "v.a.", "v.a", "va",
        "v/a", "v. a.", "[various artists]", "<various artists>", "(various artists)", "multiple artists",
        "unknown artist", "unknown artists", "unknown", "[unknown]", "<unknown>", "(unknown)", "[unknown artist]",
        "<unknown artist>", "(unknown artist)", "artist unknown", "no artist", "[no artist]", "<no artist>",
        "[anonymous]", "[traditional]", "[data]", "[dialogue]", "[untitled]", "[null]", "<none>", "undefined",
        # As players and shops call them in other languages.
        "verschiedene interpreten", "diverse interpreten", "verschiedene künstler", "verschiedene", "diverse",
        "unbekannter künstler", "unbekannter interpret", "unbekannt", "multi-interprètes", "multi interprètes",
        "artistes variés", "artistes divers", "interprètes divers", "artiste inconnu",
        "varios artistas", "varios intérpretes", "artistas varios", "varios", "artista desconocido", "desconocido",
        "vários artistas", "vários intérpretes", "vários", "artista desconhecido", "desconhecido", "artisti vari",
        "vari artisti", "aa.vv.", "aavv", "aa. vv.", "artista sconosciuto", "sconosciuto", "diverse artiesten",
        "verschillende artiesten", "onbekende artiest", "diverse artister", "blandade artister", "okänd artist",
        "ukjent artist", "ukendt kunstner", "diverse kunstnere", "eri esittäjiä", "tuntematon esittäjä",
        "różni wykonawcy", "różni artyści", "nieznany wykonawca", "nieznany artysta", "různí interpreti",
        "různí umělci", "neznámý interpret", "neznámý umělec", "különböző előadók", "ismeretlen előadó",
        "çeşitli sanatçılar", "bilinmeyen sanatçı", "разные исполнители", "различные исполнители", "разные",
        "неизвестный исполнитель", "неизвестен", "неизвестно", "різні виконавці", "διάφοροι καλλιτέχνες",
        "άγνωστος καλλιτέχνης", "ヴァリアス・アーティスト", "ヴァリアス アーティスト", "オムニバス",
        "不明なアーティスト", "群星", "华语群星", "華語群星", "未知艺术家", "未知藝人", "여러 아티스트",
        "다양한 아티스트", "알 수 없는 아티스트", "فنانون متنوعون", "فنان غير معروف",
    }
)  # fmt: skip
"""Names that stand for nobody in particular, lower case: MusicBrainz' special ones, those of players and shops."""
PLACEHOLDER_IDS = frozenset(
    {
        "0LyfQWJT6nXafLPZqxe9Of",  # Spotify's Various Artists
        "89ad4ac3-39f7-470e-963a-56509c546377",  # MusicBrainz: Various Artists
        "125ec42a-7229-4250-afc5-e057484327fe",  # [unknown]
        "f731ccc4-e22a-43af-a747-64213329e088",  # [anonymous]
        "eec63d3c-3b81-4ad4-b1e4-7c147d4d2b61",  # [no artist]
        "9be7f096-97ec-4615-8957-8d40b5dcbc41",  # [traditional]
        "33cf029c-63b0-41a0-9855-be2a3665fb3b",  # [data]
        "314e1c25-dde7-4e4d-b2f4-0a7b9f7c56dc",  # [dialogue]
    }
)
NAMES_WITH_COMMAS = (
    "Tyler, The Creator", "Earth, Wind & Fire", "Crosby, Stills, Nash & Young", "Crosby, Stills & Nash",
    "Emerson, Lake & Palmer", "Blood, Sweat & Tears", "Peter, Paul and Mary", "Peter, Paul & Mary",
    "Black Country, New Road", "Now, Now", "Medeski, Martin & Wood", "Lambert, Hendricks & Ross",
    "Dave Dee, Dozy, Beaky, Mick & Tich", "Goodnight, Texas", "Hamilton, Joe Frank & Reynolds", "Me, Myself & I",
)  # fmt: skip
"""Well-known names that hold a comma and a space, for tables that join artists by just that and give no ids."""
LONGEST_NAME = 6
"""Parts, between commas, of the longest name that is looked for in a cell."""


class Joined(Enum):
    """How a table writes several artists into one cell."""

    SEMICOLON = ";"
    ESCAPED = "\\,"
    r"""By a comma and a space, a comma in a name being ``\,``."""
    COMMA_SPACE = ", "
    COMMA = ","
    """By a bare comma, so that a comma and a space belong to a name."""
    EITHER = ";,"
    """By a semicolon if any cell of the table has one, else by a bare comma."""
    LISTED = "[]"
    """One name, or a printed list of names, or names with semicolons."""


SEVERAL = frozenset(
    {
        "artists", "artist names", "artist(s)", "artist name(s)", "artist(s) name", "track artists", "artistes",
        "artistas", "artisti", "artiesten",
    }
)  # fmt: skip
"""Headings of columns that hold more than one artist."""

_BARE_COMMA = re.compile(r",(?!\s)(?!(?<=\d,)\d{3}(?!\d))")
_ESCAPED = re.compile(r"(?<!\\),\s*")
_QUOTED = re.compile(r""""((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'""")
_WELL_KNOWN = frozenset(name.casefold() for name in NAMES_WITH_COMMAS)


def is_placeholder(name: str) -> bool:
    """Whether a name stands for nobody in particular."""
    return " ".join(name.split()).lower() in PLACEHOLDERS


def split_artists(cell: str, joined: Joined, ids: int | None = None, whole_names: Set[str] = frozenset()) -> list[str]:
    """Return the artists of a cell in order, empty ones left out.

    Parameters
    ----------
    cell
        As the table has it.
    joined
        How the table joins them; `Joined.EITHER` must have been decided.
    ids
        How many ids of artists stand beside it, where there are any: then it is that many names.
    whole_names
        Names with a comma that other files tell, in `str.casefold`.
    """
    names = _split(cell, joined, whole_names)
    if ids and len(names) != ids:
        names = _into(cell, ids, joined) or names
    return [name for name in (" ".join(name.split()) for name in names) if name]


def join_artists(names: Sequence[str]) -> str:
    """Return artists as one cell, as `Joined.ESCAPED` has them: `split_artists` parts it again."""
    # Of a name that ends in a backslash, the comma after it would be taken for its own.
    return ", ".join(re.sub(r"\\$", r"\\ ", name.replace(",", "\\,")) for name in names)


def _split(cell: str, joined: Joined, whole_names: Set[str] = frozenset()) -> list[str]:
    if joined is Joined.ESCAPED:
        return [_unescaped(name) for name in _ESCAPED.split(cell)]
    if joined is Joined.COMMA_SPACE:
        return _at_comma_and_space(cell, whole_names)
    if joined is Joined.COMMA:
        return _BARE_COMMA.split(cell)
    if joined is Joined.LISTED and (listed := _listed(cell)) is not None:
        return listed
    return cell.split(";")


def _at_comma_and_space(cell: str, whole_names: Set[str]) -> list[str]:
    """Part a cell at each comma and space that is not inside one of the names."""
    parts = re.split(r",\s+", cell)
    names: list[str] = []
    while parts:
        length = min(len(parts), LONGEST_NAME)
        while length > 1:
            name = ", ".join(parts[:length]).strip().casefold()
            if name in whole_names or name in _WELL_KNOWN:
                break
            length -= 1
        names.append(", ".join(parts[:length]))
        parts = parts[length:]
    return names


def _unescaped(name: str) -> str:
    return name.replace("\\,", ",")


def _into(cell: str, ids: int, joined: Joined) -> list[str] | None:
    """Return the one way to part a cell into a number of names: at every comma, or at those least likely of a name."""
    if ids == 1:
        return [_unescaped(cell)]
    for way in (Joined.SEMICOLON, Joined.ESCAPED, Joined.COMMA_SPACE, Joined.COMMA):
        if len(names := _split(cell, way)) == ids:
            return names
    parts = re.split(r"(,\s*)", cell)
    breaks = range(1, len(parts), 2)
    if len(breaks) < ids - 1:
        return None
    if joined is Joined.COMMA and len(bare := [at for at in breaks if parts[at] == ","]) >= ids - 1:
        breaks = bare  # type: ignore[assignment]
    at_commas = sorted(breaks, key=lambda at: (_of_a_name(parts[at + 1]), at))[: ids - 1]
    names, start = [], 0
    for at in sorted(at_commas):
        names.append("".join(parts[start:at]))
        start = at + 1
    return [*names, "".join(parts[start:])]


def _of_a_name(after: str) -> bool:
    """Whether what follows a comma looks like the rest of one name: "The Creator", "Wind & Fire", "000 Maniacs"."""
    return re.match(r"The |(?:\w+ )?(?:&|and) |\d{3}(?!\d)|Inc\b|Jr\b|\w+ & ", after) is not None


def _listed(cell: str) -> list[str] | None:
    """Return the strings of a printed list: ``['A', "B's"]``, ``c("A", "B")``, ``{A,B}``; None for other text."""
    text = cell.strip()
    if not re.match(r"(?:c\(|\[|\()\s*[\"']", text) or text[-1] not in ")]":
        return None
    if text[0] == "[":
        try:
            listed = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            listed = None
        if isinstance(listed, list) and all(isinstance(name, str) for name in listed):
            return listed
    return [re.sub(r"\\(.)", r"\1", double or single) for double, single in _QUOTED.findall(text)]


def joined_by(cells: Sequence[str], joined: Joined, heading: str = "") -> Joined:
    """Return how a table joins artists where its dialect leaves that open, from its heading and some of its cells."""
    if joined is Joined.LISTED and heading in SEVERAL:
        return Joined.COMMA_SPACE if _joins_by_comma_and_space(cells) else joined
    if joined is not Joined.EITHER:
        return joined
    return Joined.SEMICOLON if any(";" in cell for cell in cells) else Joined.COMMA


def _joins_by_comma_and_space(cells: Sequence[str]) -> bool:
    """Whether half of the cells with a comma and a space name somebody who stands alone in another cell."""
    if any(";" in cell or _listed(cell) is not None for cell in cells):
        return False
    alone = {cell.strip() for cell in cells if ", " not in cell}
    with_comma = [cell for cell in cells if ", " in cell]
    told = sum(not alone.isdisjoint(re.split(r",\s+", cell.strip())) for cell in with_comma)
    return told * 2 >= len(with_comma) > 0
