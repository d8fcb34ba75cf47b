"""What people see of what is stored of them, as HTML in the language of `Texts`."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from spotify_dag.app.html_pieces import attribute, bullets, message, section, text, toggle
from spotify_dag.app.texts import Texts

OVER_TIME = ("genres", "eras")
TALLEST = 3
"""Height of a bar of all of the listening, in the size of the letters."""
LEFT_OUT = ("artist", "genre", "playlist")


def what_counts(say: Texts, offered: Mapping[str, Sequence[tuple[str, bool]]], path: str) -> str:
    """Return buttons that leave artists, genres and playlists out, and let them count again."""
    lists = "".join(
        section(say(f"counts-{kind}"), f"<ul class='sd-chips'>{chips}</ul>" if chips else "")
        for kind in LEFT_OUT
        if (chips := "".join(f"<li>{toggle(path, kind, name, name, out)}</li>" for name, out in offered[kind]))
    )
    return (
        f"<section class='sd-counts'><h3>{say('counts')}</h3>"
        f"<p role='status' class='sd-said'>{say('counts-hint')}</p>{lists}</section>"
    )


def taste_over_time(say: Texts, answer: Mapping[str, Any]) -> str:
    """Return how a taste changed as tables of bars, and what came and went."""
    if not answer["periods"]:
        return message("hint", say("over-time"), say("over-time-none"))
    charts = "".join(_over_time(say, kind, answer["periods"], answer[kind]) for kind in OVER_TIME)
    changes = "".join(
        section(
            say(f"over-time-{kind}"),
            bullets(
                f"{text(it['name'])} <small>{say.percent(100 * it['then'])} → {say.percent(100 * it['now'])}</small>"
                for it in answer[kind]
            ),
        )
        for kind in ("came", "went")
    )
    spans = ""
    if changes and answer["then"]:
        ends = {f"{name}_{end}": answer[name][end] for name in ("then", "now") for end in ("from", "to")}
        spans = f"<p>{say('over-time-spans', **ends)}</p>"
    return f"<section class='sd-over-time'><h3>{say('over-time')}</h3>{charts}{spans}{changes}</section>"


def _over_time(say: Texts, kind: str, periods: Sequence[str], entries: Sequence[Mapping[str, Any]]) -> str:
    """Return shares as a table: a row per name, a column per period, a bar in each cell as high as its share."""
    if not entries:
        return ""
    title = say(f"over-time-{kind}")
    head = "".join(f"<th scope='col'>{text(period)}</th>" for period in periods)
    rows = "".join(
        f"<tr><th scope='row'>{text(entry['name'])}</th>"
        + "".join(
            f"<td><span style='height:{TALLEST * share:.1f}rem'></span><b>{say.percent(100 * share)}</b></td>"
            for share in entry["shares"]
        )
        + "</tr>"
        for entry in entries
    )
    table = f"<table><thead><tr><th scope='col'>{title}</th>{head}</tr></thead><tbody>{rows}</tbody></table>"
    name = say("over-time-table", kind=title)
    return f"<div class='sd-wide' tabindex='0' role='region' aria-label=\"{name}\">{table}</div>"


def own_card(say: Texts, address: str, user_id: str, *, shown: bool) -> str:
    """Return the card of a user (`card_api`), and what to write on another page to show it there.

    Parameters
    ----------
    say
        The language.
    address
        Of the app, for others.
    user_id
        Whose card it is.
    shown
        Whether it can be seen already: not before a run has taken the user in, and never of who is private.
    """
    path, name = attribute(f"/api/v1/users/{quote(user_id, safe='')}/card.svg"), attribute(user_id)
    # To be copied whole, however long the id is.
    snippet = html.escape(f'<img src="{attribute(address)}{path}" alt="{name}">')
    how = f'<pre class="sd-snippet">{snippet}</pre>'
    if not shown:
        return message("hint", say("card-later"), say("card-later-detail")) + how
    told = message("empty", say("card-begun"), say("card-begun-detail"))
    return f'{told}<p><img src="{path}" alt="{name}"></p>{how}'


def stored(say: Texts, overview: Mapping[str, Any]) -> str:
    """Return what is stored of a user."""

    def answered(holds: bool, otherwise: str = "stored-no") -> str:
        return say("stored-yes" if holds else otherwise)

    read = overview["fetched_at"]
    facts = {
        "stored-user": text(overview["user_id"]),
        "stored-source": text(overview["source"] or say("stored-nowhere")),
        "stored-read": text(read[:16].replace("T", " ") if read else say("stored-not-yet")),
        "stored-told": answered(overview["opted_in"]),
        "stored-weekly": answered(overview["every_week"]),
        "stored-card": answered(overview["card"]),
        "stored-compared": answered(overview["in_index"], "stored-not-yet"),
        "stored-left-out": say("stored-items", items=overview["items_left_out"]),
    }
    counts = {
        "stored-tracks": overview["tracks"],
        "stored-artists": overview["artists"],
        "stored-lists": len(overview["playlists"]),
    }
    figures = "".join(f"<li>{say(name, count=count)}</li>" for name, count in counts.items())
    tables = bullets(say("stored-rows-in", count=count, table=text(name)) for name, count in overview["rows"].items())
    rows = "".join(f"<tr><th scope='row'>{say(name)}</th><td>{value}</td></tr>" for name, value in facts.items())
    lists = bullets(
        say("stored-playlist", name=text(playlist["name"] or say("stored-nameless")), items=playlist["items"])
        for playlist in overview["playlists"]
    )
    return (
        f"<section class='sd-stored'><ul class='sd-figures'>{figures}</ul><table class='sd-facts'>{rows}</table>"
        f"{section(say('stored-playlists'), lists)}"
        f"<details><summary>{say('stored-rows')}</summary>{tables}</details></section>"
    )
