"""Pictures to share."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import orjson

MOST_NAME = 28
KEPT = 200
"""Pictures that are kept, some 50 KB each."""
YOU, OTHER, INK = "#0b6b34", "#2f4fb5", "#14181b"


class Pictures:
    """Pictures of comparisons, each drawn once for as long as the answer is the same."""

    def __init__(self) -> None:
        self._drawn: OrderedDict[bytes, bytes] = OrderedDict()

    def of(self, answer: Mapping[str, Any]) -> bytes:
        """Return `comparison` of an answer."""
        key = hashlib.sha256(orjson.dumps(answer)).digest()
        drawn = self._drawn.pop(key, None) or comparison(answer)
        self._drawn[key] = drawn
        while len(self._drawn) > KEPT:
            self._drawn.popitem(last=False)
        return drawn

    def clear(self) -> None:
        """Keep none: somebody was forgotten, or changed what counts."""
        self._drawn.clear()


def comparison(answer: Mapping[str, Any]) -> bytes:
    """Draw what two users have in common, as PNG.

    Parameters
    ----------
    answer
        As `service.Service.compare` returns it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained", facecolor="white")
    figure.suptitle(
        f"{short(answer['user_id'])} and {short(answer['other_id'])}\n{answer['percent']:.1f}% match",
        fontsize=15, color=INK, parse_math=False,
    )  # fmt: skip
    charts = (("Genres", "shared_genres"), ("Eras", "shared_eras"), ("Artists", "shared_artists"))
    for axes, (title, key) in zip(figure.subplots(3, 1), charts, strict=True):
        entries = answer[key][:6][::-1]
        places = range(len(entries))
        axes.barh(places, [-entry["yours"] for entry in entries], color=YOU)
        axes.barh(places, [entry["theirs"] for entry in entries], color=OTHER)
        most = max((max(entry["yours"], entry["theirs"]) for entry in entries), default=1)
        axes.set(xlim=(-most * 1.05, most * 1.05), xticks=[])
        # A name may hold a dollar sign, which would begin a formula.
        axes.set_yticks(places, [short(entry["name"]) for entry in entries], fontsize=9, parse_math=False)
        axes.set_title(title, fontsize=11, loc="left", color=INK)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.spines[["top", "right", "bottom", "left"]].set_visible(False)
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return picture.getvalue()


def short(name: str) -> str:
    """Return a name as a picture has room for it, without signs that nothing shows."""
    plain = "".join(sign for sign in name if sign.isprintable())
    return plain if len(plain) <= MOST_NAME else f"{plain[: MOST_NAME - 1]}…"
