"""Pieces of the pages as HTML. Every name goes through `text`: it is shown, and never read as markup."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from spotify_dag.playlists_out.forms import FORMS
from spotify_dag.sources.export.report import lines, summary
from spotify_dag.sources.track_links import SPOTIFY_ID

MOST_NAME = 120
"""Characters of a name that are shown."""
BAR = 48
"""Share of its cell that the longest bar of a chart takes, in percent; the number stands beside it."""
FEW_TRACKS = 30
"""With fewer items than this, a page says that its matches are a hint."""
STAGES = {
    "reading": "Reading what you listen to …",
    "read": "Read.",
    "embedding": "Working out your taste …",
    "searching": "Looking for your people …",
}


def text(value: Any) -> str:
    """Return a value as HTML that shows it: escaped, cut to `MOST_NAME`, and with its own direction of writing."""
    plain = str(value)
    cut = plain if len(plain) <= MOST_NAME else f"{plain[: MOST_NAME - 1]}…"
    return f"<bdi>{html.escape(cut)}</bdi>"


def attribute(value: Any) -> str:
    """Return a value as it may stand in a quoted attribute."""
    return html.escape(str(value), quote=True)


def message(kind: str, title: str, detail: str) -> str:
    """Return a state of a page that is no result: ``empty``, ``loading``, ``error`` or ``hint``."""
    role = "alert" if kind == "error" else "status"
    return f'<div class="sd-message sd-{kind}" role="{role}"><strong>{text(title)}</strong><p>{_long(detail)}</p></div>'


def progress(data: Mapping[str, Any]) -> str:
    """Return how far the reading of a newcomer is."""
    items = f"{data['items']:,} items so far." if "items" in data else "This takes a moment."
    return message("loading", STAGES.get(data["stage"], "Working …"), items)


def problem(data: Mapping[str, Any]) -> str:
    """Return why there is no answer."""
    return message("error", "That did not work", data["detail"])


def matches(answer: Mapping[str, Any], *, blends: bool = False, by_file: bool = False) -> str:
    """Return the matches of a user as cards.

    Parameters
    ----------
    answer
        Of the service.
    blends
        Whether there are tracks to blend: each card has a button for it then.
    by_file
        Whether the user came with a file, which the browser still has.
    """
    parts = []
    if token := answer.get("token"):
        parts.append(
            '<div class="sd-message sd-hint" role="status"><strong>Keep this token</strong><p>You are '
            f"<code>{text(answer['user_id'])}</code> here. With the token you see, take away and delete your data "
            "under “My data”; nobody can give it to you again.</p>"
            f'<code class="sd-token">{html.escape(token)}</code></div>'
        )
    if answer["tracks"] < FEW_TRACKS:
        parts.append(
            message(
                "hint",
                f"Only {answer['tracks']:,} items to go by",
                "These are people to look at, not yet your people. With more playlists the answer becomes surer.",
            )
        )
    if not answer["matches"]:
        parts.append(message("empty", "Nobody yet", "Nobody here shares that much. Ask for fewer artists in common."))
    if reading := answer.get("reading"):
        parts.append(what_was_read(reading))
    asker = "" if by_file else answer["user_id"]
    cards = (
        match_card(place, match, answer["user_id"], blend_button(match["user_id"], asker) if blends else "")
        for place, match in enumerate(answer["matches"], 1)
    )
    attribution = ATTRIBUTION if any(match["profile"] for match in answer["matches"]) else ""
    return f"{''.join(parts)}<ol class='sd-cards'>{''.join(cards)}</ol>{attribution}"


def what_was_read(reading: Mapping[str, Any]) -> str:
    """Return what was read of a file that was handed in, what was not and why."""
    shown = [_long(line) for line in lines(reading)]
    return f"<details class='sd-read'><summary>{summary(reading)} were read</summary>{_list(shown)}</details>"


def match_card(place: int, match: Mapping[str, Any], user_id: str, more: str = "") -> str:
    """Return one match as a card, with ``more`` at its foot."""
    name = text(match["user_id"])
    if match["profile"]:
        name = f'<a href="{attribute(match["profile"])}" rel="noopener noreferrer" target="_blank">{name}</a>'
    tracks = match.get("top_tracks") or []
    first = (
        _section("Genres you share", _shared(match["shared_genres"][:3])),
        _section("Artists you share", _shared(match["shared_artists"][:3])),
        _section("They love, new to you", _chips(entry["name"] for entry in match["new_to_you"][:4])),
    )
    rest = (
        _section("More genres", _shared(match["shared_genres"][3:5])),
        _section("More artists", _shared(match["shared_artists"][3:6])),
        _section("Eras", _shared(match["shared_eras"][:4])),
        _section("Also new to you", _chips(entry["name"] for entry in match["new_to_you"][4:8])),
        _section("Their top tracks", _list(f"{text(t['title'])} – {text(t['artist'])}" for t in tracks)),
    )
    where = urlencode({"a": user_id, "b": match["user_id"]})
    return (
        f'<li class="sd-card"><header><span class="sd-place">{place}</span><h3>{name}</h3>'
        f'<span class="sd-percent"><strong>{match["percent"]:.1f}%</strong> match</span>{_sure(match["confidence"])}'
        f"</header>{''.join(first)}<details><summary>More</summary>{''.join(rest)}</details>"
        f'<footer><a href="/?{attribute(where)}">Compare in full</a>{more}</footer></li>'
    )


def blend_button(user_id: str, asker: str) -> str:
    """Return the button that blends somebody with who asks: see ``blend.js``. Without an id, by the file they sent."""
    return (
        f' <button type="button" class="sd-button" data-blend="{attribute(user_id)}" data-asker="{attribute(asker)}">'
        "Blend with them</button>"
    )


def examples(listeners: Sequence[Mapping[str, Any]]) -> str:
    """Return listeners to try, each with what they listen to; nothing where there are none."""
    rows = "".join(
        f'<li><a href="/?{attribute(urlencode({"user": listener["user_id"]}))}">{text(listener["user_id"])}</a> '
        f"<small>{', '.join(map(text, listener['genres']))}</small></li>"
        for listener in listeners
    )
    return f'<nav class="sd-examples" aria-label="Examples">Or try<ul>{rows}</ul></nav>' if rows else ""


def blend(answer: Mapping[str, Any], *, account: bool) -> str:
    """Return the list for several people, and how well it serves each."""
    people = "".join(
        f"<tr><th scope='row'>{text(person['user_id'])}</th><td><span class='sd-bar'>"
        f"<span style='width:{100 * person['satisfaction']:.0f}%'></span></span></td>"
        f"<td>{person['satisfaction']:.0%}</td></tr>"
        for person in answer["people"]
    )
    facts = f"{len(answer['tracks'])} tracks, {answer['minutes']:.0f} minutes; {answer['known']:.0%} known to somebody."
    names = ", ".join(person["user_id"] for person in answer["people"])
    return (
        f"<section class='sd-blended'><h3>How well it serves each</h3><p>{facts}</p><table class='sd-facts'>{people}"
        f"</table></section>{tracks(answer['tracks'], title=f'Blend of {names}'[:MOST_NAME], account=account)}"
    )


def comparison(answer: Mapping[str, Any]) -> str:
    """Return the comparison of two users, side by side."""
    you, other = text(answer["user_id"]), text(answer["other_id"])
    picture = f"/api/v1/compare.png?{urlencode({'a': answer['user_id'], 'b': answer['other_id']})}"
    charts = "".join(
        f"<section><h3>{title}</h3>{_two_sides(answer[key], you, other)}</section>"
        for title, key in (("Genres", "shared_genres"), ("Eras", "shared_eras"), ("Artists", "shared_artists"))
    )
    new = "".join(
        _section(f"New to {who}", _chips(entry["name"] for entry in answer[key][:12]))
        for who, key in ((you, "new_to_you"), (other, "new_to_other"))
    )
    return (
        f'<article class="sd-compare"><header><h2>{you} and {other}</h2>'
        f'<span class="sd-percent"><strong>{answer["percent"]:.1f}%</strong> match</span>{_sure(answer["confidence"])}'
        f"<p>More alike than {answer['percent']:.1f}% of random pairs of listeners.</p></header>"
        f'<div class="sd-charts">{charts}</div>{new}'
        f'<p><a class="sd-button" href="{attribute(picture)}" download="taste.png">Picture to share</a></p></article>'
    )


def tracks(
    listed: Sequence[Mapping[str, Any]], unknown: Sequence[Any] = (), *, path: str = "", title: str = "",
    account: bool = False, picks: bool = False,
) -> str:  # fmt: skip
    """Return tracks as a list to take away, each with its reasons where it has any.

    Parameters
    ----------
    listed, unknown
        The tracks, and what was asked for and is not known.
    path
        Of somebody's preferences: each track has buttons then to say what one thinks of it.
    title
        Of the list.
    account
        Whether it can be added to an account at Spotify.
    picks
        Whether each track has a button that adds it to the playlist that is continued: see ``pick.js``.
    """
    skipped = message("hint", f"{len(unknown):,} not known", ", ".join(map(str, unknown[:10]))) if unknown else ""
    if not listed:
        return skipped + message("empty", "Nothing found", "Try another title, artist or mood.")
    rows = []
    for track in listed:
        why = f"<small>{'; '.join(text(reason) for reason in track['why'])}</small>" if track.get("why") else ""
        year = f" · {track['release_year']}" if track.get("release_year") else ""
        shown = text(track["track_name"])
        if track.get("track_id"):
            link = f"https://open.spotify.com/track/{quote(str(track['track_id']), safe='')}"
            shown = f'<a href="{attribute(link)}" rel="noopener noreferrer" target="_blank">{shown}</a>'
        said = "".join(_toggle(path, kind, str(track["track_id"]), words) for kind, words in FEEDBACK.items() if path)
        if picks and track.get("track_id"):
            said += (
                f'<button type="button" class="sd-toggle" data-pick="{attribute(track["track_id"])}" '
                f'aria-label="Add {attribute(track["track_name"])} to the playlist">Add</button>'
            )
        rows.append(f"<li><strong>{shown}</strong> {text(track['artist_name'])}{year}{why}{said}</li>")
    save = f'<div class="sd-save">{_take_away(title, listed)}{_save(title, listed) if account else ""}</div>'
    return f"{skipped}{save}<ol class='sd-tracks'>{''.join(rows)}</ol>{ATTRIBUTION}"


def what_counts(offered: Mapping[str, Sequence[tuple[str, bool]]], path: str) -> str:
    """Return buttons that leave artists, genres and playlists out, and let them count again."""
    lists = "".join(
        _section(title, f"<ul class='sd-chips'>{chips}</ul>" if chips else "")
        for kind, title in LEFT_OUT.items()
        if (chips := "".join(f"<li>{_toggle(path, kind, name, name, out)}</li>" for name, out in offered[kind]))
    )
    hint = "Press what does not count for your taste, such as songs for children. Press again to undo it."
    return (
        f"<section class='sd-counts'><h3>What counts</h3><p role='status' class='sd-said'>{hint}</p>{lists}</section>"
    )


def taste_over_time(answer: Mapping[str, Any]) -> str:
    """Return how a taste changed as tables of bars, and what came and went."""
    if answer["note"]:
        return message("hint", "Taste over time", answer["note"])
    charts = "".join(_over_time(title, answer["periods"], answer[key]) for title, key in OVER_TIME.items())
    changes = "".join(
        _section(title, _list(f"{text(it['name'])} <small>{it['then']:.0%} → {it['now']:.0%}</small>" for it in listed))
        for title, listed in (("What came", answer["came"]), ("What went", answer["went"]))
    )
    then, now = answer["then"], answer["now"]
    spans = f"<p>Then: {then['from']} to {then['to']}. Now: {now['from']} to {now['to']}.</p>" if then else ""
    return (
        f"<section class='sd-over-time'><h3>Taste over time</h3>{charts}{spans if changes else ''}{changes}</section>"
    )


def _over_time(title: str, periods: Sequence[str], entries: Sequence[Mapping[str, Any]]) -> str:
    """Return shares as a table: a row per name, a column per period, a bar in each cell as high as its share."""
    if not entries:
        return ""
    head = "".join(f"<th scope='col'>{text(period)}</th>" for period in periods)
    rows = "".join(
        f"<tr><th scope='row'>{text(entry['name'])}</th>"
        + "".join(
            f"<td><span style='height:{TALLEST * share:.1f}rem'></span><b>{share:.0%}</b></td>"
            for share in entry["shares"]
        )
        + "</tr>"
        for entry in entries
    )
    table = f"<table><thead><tr><th scope='col'>{title}</th>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<div class='sd-wide' tabindex='0' role='region' aria-label='{title} over time'>{table}</div>"


def weekly(answer: Mapping[str, Any], *, account: bool) -> str:
    """Return the list of a week, or why there is none."""
    if answer["week"] is None:
        return message("empty", "No list yet", "Ask for one. It comes with the next run.")
    if answer["unmade_reason"]:
        return message("hint", f"No list for {answer['week']}", answer["unmade_reason"])
    return tracks(answer["tracks"], title=f"Monday {answer['week']}", account=account)


def stored(overview: Mapping[str, Any]) -> str:
    """Return what is stored of a user."""
    facts = {
        "You are": text(overview["user_id"]),
        "It came from": text(overview["source"] or "nowhere"),
        "Read": text((overview["fetched_at"] or "not yet")[:16].replace("T", " ")),
        "Others may be told of you": "yes" if overview["opted_in"] else "no",
        "A list every Monday": "yes" if overview["every_week"] else "no",
        "You are compared with others": "yes" if overview["in_index"] else "not yet",
        "Left out": f"{overview['items_left_out']:,} items",
        "Rows": ", ".join(f"{count:,} in {text(table)}" for table, count in overview["rows"].items()),
    }
    rows = "".join(f"<tr><th scope='row'>{name}</th><td>{value}</td></tr>" for name, value in facts.items())
    lists = _list(
        f"{text(playlist['name'] or 'without a name')}: {playlist['items']:,} items"
        for playlist in overview["playlists"]
    )
    return f"<table class='sd-facts'>{rows}</table>{_section('Playlists', lists)}"


OVER_TIME = {"Genre": "genres", "Era": "eras"}
TALLEST = 3
"""Height of a bar of all of the listening, in the size of the letters."""
LEFT_OUT = {"artist": "Artists", "genre": "Genres", "playlist": "Your playlists"}
FEEDBACK = {"not-for-me": "Not for me", "more-like": "More like this"}


def _toggle(path: str, kind: str, name: str, words: str, pressed: bool = False) -> str:
    """Return a button that says something, or undoes it: see ``preferences.js``."""
    return (
        f'<button type="button" class="sd-toggle" aria-pressed="{str(pressed).lower()}" '
        f'data-preferences="{attribute(path)}" data-kind="{kind}" data-name="{attribute(name)}">{text(words)}</button>'
    )


ATTRIBUTION = (
    '<p class="sd-attribution">Profiles, tracks and artists with links to Spotify: metadata by '
    '<a href="https://www.spotify.com" rel="noopener noreferrer" target="_blank">Spotify</a>.</p>'
)


def _take_away(title: str, listed: Sequence[Mapping[str, Any]]) -> str:
    """Return the form that downloads a list as a file."""
    fields = "".join(
        f'<input type="hidden" name="tracks" value="{attribute(track["track_id"])}">'
        for track in listed
        if track.get("track_id")
    )
    forms = "".join(f'<option value="{name}">{name.upper()}</option>' for name in FORMS)
    return (
        f'<form method="post" action="/api/v1/lists"><input type="hidden" name="title" value="{attribute(title)}">'
        f'{fields}<select name="format" aria-label="Format">{forms}</select> '
        '<button class="sd-button">Download</button></form>'
    )


def _save(title: str, listed: Sequence[Mapping[str, Any]]) -> str:
    """Return the button that makes a list a playlist; none where no track is Spotify's."""
    ids = [str(track["track_id"]) for track in listed if track.get("track_id")]
    if not any(re.fullmatch(SPOTIFY_ID, track) for track in ids):
        return ""
    playlist = attribute(json.dumps({"title": title, "tracks": ids}))
    return f'<p><button class="sd-button" data-playlist="{playlist}">Add to my Spotify</button> <output></output></p>'


def _sure(confidence: float) -> str:
    words = "surely" if confidence >= 0.75 else "probably" if confidence >= 0.5 else "perhaps"
    return (
        f'<span class="sd-sure">{words}: {confidence:.0%} sure'
        f'<span class="sd-bar"><span style="width:{100 * confidence:.0f}%"></span></span></span>'
    )


def _section(title: str, content: str) -> str:
    return f"<section><h4>{title}</h4>{content}</section>" if content else ""


def _shared(entries: Sequence[Mapping[str, Any]]) -> str:
    most = max((max(entry["yours"], entry["theirs"]) for entry in entries), default=0) or 1
    return _list(
        f"{text(entry['name'])} <small>you {entry['yours']:.0%} · they {entry['theirs']:.0%}</small>"
        f"<span class='sd-pair' aria-hidden='true'><span style='width:{100 * entry['yours'] / most:.0f}%'></span>"
        f"<span style='width:{100 * entry['theirs'] / most:.0f}%'></span></span>"
        for entry in entries
    )


def _two_sides(entries: Sequence[Mapping[str, Any]], you: str, other: str) -> str:
    if not entries:
        return "<p>Nothing in common.</p>"
    most = max(max(entry["yours"], entry["theirs"]) for entry in entries) or 1
    rows = "".join(
        f"<tr><td class='sd-left'><span style='width:{BAR * entry['yours'] / most:.0f}%'></span>"
        f"<b>{entry['yours']:.1%}</b></td><th scope='row'>{text(entry['name'])}</th>"
        f"<td class='sd-right'><span style='width:{BAR * entry['theirs'] / most:.0f}%'></span>"
        f"<b>{entry['theirs']:.1%}</b></td></tr>"
        for entry in entries[:12]
    )
    head = f"<tr><th scope='col'>{you}</th><td></td><th scope='col'>{other}</th></tr>"
    return f"<table class='sd-sides'><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _chips(names: Iterable[str]) -> str:
    chips = "".join(f"<li>{text(name)}</li>" for name in names)
    return f"<ul class='sd-chips'>{chips}</ul>" if chips else ""


def _list(entries: Iterable[str]) -> str:
    rows = "".join(f"<li>{entry}</li>" for entry in entries)
    return f"<ul>{rows}</ul>" if rows else ""


def _long(value: str) -> str:
    return f"<bdi>{html.escape(value[:1_000])}</bdi>"
