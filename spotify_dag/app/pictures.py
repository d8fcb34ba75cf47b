"""Pictures to share."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

MOST_NAME = 28
YOU, OTHER, INK = "#0b6b34", "#2f4fb5", "#14181b"


def comparison(answer: Mapping[str, Any]) -> bytes:
    """Draw what two users have in common, as PNG.

    Parameters
    ----------
    found
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
