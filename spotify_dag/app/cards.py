"""Pieces of the pages as HTML, in the language of `Texts`.

Every name goes through `text`: it is shown, and never read as markup.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from spotify_dag.app.html_pieces import MOST_NAME, attribute, bullets, chips, long_text, message, section, text, toggle
from spotify_dag.app.texts import Texts
from spotify_dag.playlists_out.forms import FORMS
from spotify_dag.sources.export.report import details
from spotify_dag.sources.track_links import SPOTIFY_ID

BAR = 48
"""Share of its cell that the longest bar of a chart takes, in percent; the number stands beside it."""
FEW_TRACKS = 30
"""With fewer items than this, a page says that its matches are a hint."""
FEEDBACK = ("not-for-me", "more-like")
STAGES = ("reading", "read", "embedding", "searching")


def progress(say: Texts, data: Mapping[str, Any]) -> str:
    """Return how far the reading of a newcomer is."""
    items = say("progress-items", items=data["items"]) if "items" in data else say("progress-moment")
    stage = data["stage"] if data["stage"] in STAGES else "working"
    return message("loading", say(f"progress-{stage}"), items)


def problem(say: Texts, data: Mapping[str, Any]) -> str:
    """Return why there is no answer."""
    return message("error", say("problem"), data["detail"])


def matches(say: Texts, answer: Mapping[str, Any], *, blends: bool = False, by_file: bool = False) -> str:
    """Return the matches of a user as cards.

    Parameters
    ----------
    say
        The language.
    answer
        Of the service.
    blends
        Whether there are tracks to blend: each card has a button for it then.
    by_file
        Whether the user came with a file, which the browser still has.
    """
    parts = []
    if token := answer.get("token"):
        detail = say("token-detail", user=f"<code>{text(answer['user_id'])}</code>")
        parts.append(
            f'<div class="sd-message sd-hint" role="status"><strong>{say("token")}</strong><p>{detail}</p>'
            f'<code class="sd-token">{html.escape(token)}</code></div>'
        )
    if answer["tracks"] < FEW_TRACKS:
        parts.append(message("hint", say("matches-few", items=answer["tracks"]), say("matches-few-detail")))
    if not answer["matches"]:
        parts.append(message("empty", say("matches-none"), say("matches-none-detail")))
    if reading := answer.get("reading"):
        parts.append(what_was_read(say, reading))
    asker = "" if by_file else answer["user_id"]
    cards = (
        match_card(say, place, match, answer["user_id"], blend_button(say, match["user_id"], asker) if blends else "")
        for place, match in enumerate(answer["matches"], 1)
    )
    attributed = _attribution(say) if any(match["profile"] for match in answer["matches"]) else ""
    return f"{''.join(parts)}<ol class='sd-cards'>{''.join(cards)}</ol>{attributed}"


def what_was_read(say: Texts, reading: Mapping[str, Any]) -> str:
    """Return what was read of a file that was handed in, what was not and why."""
    plays = {"plays": reading["plays"]} if reading["plays"] else {}
    summary = say(
        "read-summary-plays" if plays else "read-summary", items=reading["rows_kept"], lists=reading["lists"], **plays
    )
    shown = [long_text(say(f"read-{kind}", **values)) for kind, values in details(reading)]
    notes = [long_text(note) for note in reading["notes"]]
    return f"<details class='sd-read'><summary>{summary}</summary>{bullets(shown + notes)}</details>"


def match_card(say: Texts, place: int, match: Mapping[str, Any], user_id: str, more: str = "") -> str:
    """Return one match as a card, with ``more`` at its foot."""
    name = text(match["user_id"])
    if match["profile"]:
        name = f'<a href="{attribute(match["profile"])}" rel="noopener noreferrer" target="_blank">{name}</a>'
    tracks = match.get("top_tracks") or []
    first = (
        section(say("match-genres"), _shared(say, match["shared_genres"][:3])),
        section(say("match-artists"), _shared(say, match["shared_artists"][:3])),
        section(say("match-new"), chips(entry["name"] for entry in match["new_to_you"][:4])),
    )
    rest = (
        section(say("match-more-genres"), _shared(say, match["shared_genres"][3:5])),
        section(say("match-more-artists"), _shared(say, match["shared_artists"][3:6])),
        section(say("match-eras"), _shared(say, match["shared_eras"][:4])),
        section(say("match-more-new"), chips(entry["name"] for entry in match["new_to_you"][4:8])),
        section(say("match-tracks"), bullets(f"{text(t['title'])} – {text(t['artist'])}" for t in tracks)),
    )
    where = urlencode({"a": user_id, "b": match["user_id"]})
    return (
        f'<li class="sd-card"><header><span class="sd-place">{place}</span><h3>{name}</h3>'
        f"{_percent(say, match['percent'])}{_sure(say, match['confidence'])}"
        f"</header>{''.join(first)}<details><summary>{say('match-more')}</summary>{''.join(rest)}</details>"
        f'<footer><a href="/?{attribute(where)}">{say("match-compare")}</a>{more}</footer></li>'
    )


def blend_button(say: Texts, user_id: str, asker: str) -> str:
    """Return the button that blends somebody with who asks: see ``blend.js``. Without an id, by the file they sent."""
    return (
        f' <button type="button" class="sd-button" data-blend="{attribute(user_id)}" data-asker="{attribute(asker)}">'
        f"{say('match-blend')}</button>"
    )


def examples(say: Texts, listeners: Sequence[Mapping[str, Any]]) -> str:
    """Return listeners to try, each with what they listen to; nothing where there are none."""
    rows = "".join(
        f'<li><a href="/?{attribute(urlencode({"user": listener["user_id"]}))}">{text(listener["user_id"])}</a> '
        f"<small>{', '.join(map(text, listener['genres']))}</small></li>"
        for listener in listeners
    )
    tried = (
        f'<nav class="sd-examples" aria-label="{say("find-examples")}">{say("find-examples-try")}<ul>{rows}</ul></nav>'
    )
    return tried if rows else ""


def blend(say: Texts, answer: Mapping[str, Any], *, account: bool) -> str:
    """Return the list for several people, and how well it serves each."""
    people = "".join(
        f"<tr><th scope='row'>{text(person['user_id'])}</th><td><span class='sd-bar'>"
        f"<span style='width:{100 * person['satisfaction']:.0f}%'></span></span></td>"
        f"<td>{say.percent(100 * person['satisfaction'])}</td></tr>"
        for person in answer["people"]
    )
    facts = say(
        "blend-facts", tracks=len(answer["tracks"]), minutes=round(answer["minutes"]),
        known=say.percent(100 * answer["known"]),
    )  # fmt: skip
    title = say("blend-title", names=", ".join(person["user_id"] for person in answer["people"]))
    return (
        f"<section class='sd-blended'><h3>{say('blend-serves')}</h3><p>{facts}</p><table class='sd-facts'>{people}"
        f"</table></section>{tracks(say, answer['tracks'], title=title[:MOST_NAME], account=account)}"
    )


def comparison(say: Texts, answer: Mapping[str, Any]) -> str:
    """Return the comparison of two users, side by side."""
    you, other = text(answer["user_id"]), text(answer["other_id"])
    picture = f"/api/v1/compare.png?{urlencode({'a': answer['user_id'], 'b': answer['other_id']})}"
    charts = "".join(
        f"<section><h3>{say(f'compare-{kind}')}</h3>{_two_sides(say, answer[f'shared_{kind}'], you, other)}</section>"
        for kind in ("genres", "eras", "artists")
    )
    new = "".join(
        section(say("compare-new", user=who), chips(entry["name"] for entry in answer[key][:12]))
        for who, key in ((you, "new_to_you"), (other, "new_to_other"))
    )
    return (
        f'<article class="sd-compare"><header><h2>{say("compare-both", one=you, other=other)}</h2>'
        f"{_percent(say, answer['percent'])}{_sure(say, answer['confidence'])}"
        f"<p>{say('compare-alike', percent=say.percent(answer['percent'], 1))}</p></header>"
        f'<div class="sd-charts">{charts}</div>{new}<p><a class="sd-button" href="{attribute(picture)}" '
        f'download="taste.png">{say("compare-picture")}</a></p></article>'
    )


def tracks(
    say: Texts, listed: Sequence[Mapping[str, Any]], unknown: Sequence[Any] = (), *, path: str = "", title: str = "",
    account: bool = False, picks: bool = False,
) -> str:  # fmt: skip
    """Return tracks as a list to take away, each with its reasons where it has any.

    Parameters
    ----------
    say
        The language.
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
    skipped = (
        message("hint", say("tracks-unknown", count=len(unknown)), ", ".join(map(str, unknown[:10]))) if unknown else ""
    )
    if not listed:
        return skipped + message("empty", say("tracks-none"), say("tracks-none-detail"))
    rows = "".join(_track(say, track, path, picks=picks) for track in listed)
    save = f'<div class="sd-save">{_take_away(say, title, listed)}{_save(say, title, listed) if account else ""}</div>'
    return f"{skipped}{save}<ol class='sd-tracks'>{rows}</ol>{_attribution(say)}"


def _track(say: Texts, track: Mapping[str, Any], path: str, *, picks: bool) -> str:
    """Return a track as an item of a list, with its reasons and what can be said of it."""
    why = f"<small>{'; '.join(text(say.reason(why)) for why in track['why'])}</small>" if track.get("why") else ""
    year = f" · {track['release_year']}" if track.get("release_year") else ""
    shown = text(track["track_name"])
    if track.get("track_id"):
        link = f"https://open.spotify.com/track/{quote(str(track['track_id']), safe='')}"
        shown = f'<a href="{attribute(link)}" rel="noopener noreferrer" target="_blank">{shown}</a>'
    said = "".join(toggle(path, kind, str(track["track_id"]), say(f"feedback-{kind}")) for kind in FEEDBACK if path)
    if picks and track.get("track_id"):
        what = say("tracks-add-this", track=attribute(track["track_name"]))
        said += (
            f'<button type="button" class="sd-toggle" data-pick="{attribute(track["track_id"])}" '
            f'aria-label="{what}">{say("tracks-add")}</button>'
        )
    return f"<li><strong>{shown}</strong> {text(track['artist_name'])}{year}{why}{said}</li>"


def weekly(say: Texts, answer: Mapping[str, Any], *, account: bool) -> str:
    """Return the list of a week, or why there is none."""
    week = answer["week"]
    if week is None:
        return message("empty", say("weekly-none"), say("weekly-none-detail"))
    if answer["unmade_reason"]:
        return message("hint", say("weekly-unmade", week=week), answer["unmade_reason"])
    return tracks(say, answer["tracks"], title=say("weekly-title", week=week), account=account)


def _attribution(say: Texts) -> str:
    spotify = '<a href="https://www.spotify.com" rel="noopener noreferrer" target="_blank">Spotify</a>'
    return f'<p class="sd-attribution">{say("attribution", spotify=spotify)}</p>'


def _take_away(say: Texts, title: str, listed: Sequence[Mapping[str, Any]]) -> str:
    """Return the form that downloads a list as a file."""
    fields = "".join(
        f'<input type="hidden" name="tracks" value="{attribute(track["track_id"])}">'
        for track in listed
        if track.get("track_id")
    )
    forms = "".join(f'<option value="{name}">{name.upper()}</option>' for name in FORMS)
    return (
        f'<form method="post" action="/api/v1/lists"><input type="hidden" name="title" value="{attribute(title)}">'
        f'{fields}<select name="format" aria-label="{say("tracks-format")}">{forms}</select> '
        f'<button class="sd-button">{say("tracks-download")}</button></form>'
    )


def _save(say: Texts, title: str, listed: Sequence[Mapping[str, Any]]) -> str:
    """Return the button that makes a list a playlist; none where no track is Spotify's."""
    ids = [str(track["track_id"]) for track in listed if track.get("track_id")]
    if not any(re.fullmatch(SPOTIFY_ID, track) for track in ids):
        return ""
    playlist = attribute(json.dumps({"title": title, "tracks": ids}))
    return f'<p><button class="sd-button" data-playlist="{playlist}">{say("save")}</button> <output></output></p>'


def _percent(say: Texts, percent: float) -> str:
    strong = f"<strong>{say.percent(percent, 1)}</strong>"
    return f'<span class="sd-percent">{say("match-percent", percent=strong)}</span>'


def _sure(say: Texts, confidence: float) -> str:
    how = "surely" if confidence >= 0.75 else "probably" if confidence >= 0.5 else "perhaps"
    return (
        f'<span class="sd-sure">{say(f"match-{how}", percent=say.percent(100 * confidence))}'
        f'<span class="sd-bar"><span style="width:{100 * confidence:.0f}%"></span></span></span>'
    )


def _shared(say: Texts, entries: Sequence[Mapping[str, Any]]) -> str:
    most = max((max(entry["yours"], entry["theirs"]) for entry in entries), default=0) or 1
    return bullets(
        f"{text(entry['name'])} <small>{_shares(say, entry)}</small>"
        f"<span class='sd-pair' aria-hidden='true'><span style='width:{100 * entry['yours'] / most:.0f}%'></span>"
        f"<span style='width:{100 * entry['theirs'] / most:.0f}%'></span></span>"
        for entry in entries
    )


def _shares(say: Texts, entry: Mapping[str, Any]) -> str:
    return say("match-shares", yours=say.percent(100 * entry["yours"]), theirs=say.percent(100 * entry["theirs"]))


def _two_sides(say: Texts, entries: Sequence[Mapping[str, Any]], you: str, other: str) -> str:
    if not entries:
        return f"<p>{say('compare-nothing')}</p>"
    most = max(max(entry["yours"], entry["theirs"]) for entry in entries) or 1
    rows = "".join(
        f"<tr><td class='sd-left'><span style='width:{BAR * entry['yours'] / most:.0f}%'></span>"
        f"<b>{say.percent(100 * entry['yours'], 1)}</b></td><th scope='row'>{text(entry['name'])}</th>"
        f"<td class='sd-right'><span style='width:{BAR * entry['theirs'] / most:.0f}%'></span>"
        f"<b>{say.percent(100 * entry['theirs'], 1)}</b></td></tr>"
        for entry in entries[:12]
    )
    head = f"<tr><th scope='col'>{you}</th><td></td><th scope='col'>{other}</th></tr>"
    return f"<table class='sd-sides'><thead>{head}</thead><tbody>{rows}</tbody></table>"
