"""What the pages say, in the visitor's language: the messages of ``texts/<language>.ftl``.

The files are Fluent's (https://projectfluent.org). ``en.ftl`` has every message; what another file lacks is English.
Words stand there, markup stands in Python and HTML: no message holds a sign that means something in HTML or JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from babel import Locale, negotiate_locale
from babel.numbers import get_decimal_symbol
from fluent.runtime import FluentBundle, FluentResource
from fluent.runtime.types import FluentType

LANGUAGES = ("en", "de", "es")
"""The first is for those who read none of them."""
MOST_HEADER, MOST_WISHES = 500, 20
"""Characters, and languages, that are read of what a browser sends."""
OPEN = "\ue000"
"""Stands on both sides of the name of a value that is put in later. For private use: no text holds it."""
SCRIPT_VALUES = ("items", "name", "title", "value")
"""Values that scripts put in, beside ``count``."""
REASON_VALUES = {"all": r"\d{1,9}", "list": ".+", "name": ".+", "near": r"\d{1,9}"}
"""Values of reasons, and what they look like."""
_MARK = re.compile(r"⟦([a-z-]+)((?: \w+=\w+)*)⟧")
_SCRIPT_MARK = re.compile(r"⟦\[([a-z -]*)\]⟧")


class Texts:
    """What the pages say in one language.

    Parameters
    ----------
    language
        Of `LANGUAGES`.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        locale = Locale(language)
        self._decimal = get_decimal_symbol(locale)
        self._percent = locale.percent_formats[None].suffix[0]

    def __call__(self, message: str, /, **values: str | int) -> str:
        """Return a message with values put in.

        A number is written as the language writes it, and decides between the forms of a text. Another value is put in
        as it is: what a stranger wrote is escaped before, or the whole message is afterwards.

        Raises
        ------
        KeyError
            If there is no such message.
        """
        # Asked hundreds of times a page: by name alone where there is no value, and lists, which are made faster.
        if not values:
            return _parts(self.language, message)[0]
        parts = _parts(
            self.language, message, *[(name, it if isinstance(it, int) else None) for name, it in values.items()]
        )
        return "".join([str(values[part]) if place % 2 else part for place, part in enumerate(parts)])

    def percent(self, percent: float, digits: int = 0) -> str:
        """Return a percentage. Not by Babel, which takes 20 µs for each of the hundreds on a page."""
        return f"{percent:.{digits}f}".replace(".", self._decimal) + self._percent

    def reason(self, sentence: str) -> str:
        """Return in this language why a track is in a list. Reasons come, and are stored, as English sentences."""
        if self.language == LANGUAGES[0]:
            return sentence
        fixed, patterns = _reasons()
        if sentence in fixed:
            return self(fixed[sentence])
        for message, pattern in patterns.items():
            if stated := pattern.fullmatch(sentence):
                return self(message, **_typed(stated.groupdict()))
        return sentence

    def for_scripts(self, messages: Iterable[str]) -> str:
        """Return messages as JSON for ``say.js``: with ``{name}`` for values, and each form of what counts."""
        return _for_scripts(self.language, tuple(messages))


def mark(message: str, /, **values: str | int) -> str:
    """Return what stands for a message in a page that is made once for all languages; see `filled`.

    Values are numbers or single words of our own.
    """
    return f"⟦{message}{''.join(f' {name}={value}' for name, value in values.items())}⟧"


def script_mark(messages: Iterable[str]) -> str:
    """Return what stands for messages in a script within such a page."""
    return f"⟦[{' '.join(messages)}]⟧"


def filled(page: str, say: Texts) -> str:
    """Return a page with the messages of a language instead of their marks; scripts stand in it as JSON."""

    def message(marked: re.Match[str]) -> str:
        return say(marked[1], **_typed(dict(value.split("=") for value in marked[2].split())))

    page = _SCRIPT_MARK.sub(lambda marked: json.dumps(say.for_scripts(marked[1].split()))[1:-1], page)
    return _MARK.sub(message, page)


def _typed(values: Mapping[str, str]) -> dict[str, str | int]:
    return {name: int(value) if re.fullmatch(r"[0-9]{1,9}", value) else value for name, value in values.items()}


@cache
def texts_in(language: str) -> Texts:
    """Return the texts of one of `LANGUAGES`."""
    return Texts(language)


def texts_of(request: Any) -> Texts:
    """Return the texts for who sent a request."""
    return texts_in(language_of(request.headers.get("accept-language", "")))


def language_of(wishes: str) -> str:
    """Return the language of `LANGUAGES` that an ``Accept-Language`` header (RFC 9110) likes best.

    ``de-AT`` is German. Who likes none of them reads English. Garbage is passed over.
    """
    weighed = []
    for wish in wishes[:MOST_HEADER].split(",")[:MOST_WISHES]:
        language, _, weight = wish.partition(";")
        weight = weight.strip().lower().removeprefix("q=")
        liked = float(weight) if re.fullmatch(r"[01](\.[0-9]{0,3})?", weight) else float(not weight)
        weighed.append((liked, language.strip()))
    liked_languages = [language for liked, language in sorted(weighed, key=lambda it: -it[0]) if liked]
    return (negotiate_locale(liked_languages, LANGUAGES, sep="-") or LANGUAGES[0]).lower()


@cache
def resource(language: str) -> str:
    """Return the file of a language."""
    return files("spotify_dag.app").joinpath("texts", f"{language}.ftl").read_text(encoding="utf-8")


@cache
def _bundle(language: str) -> FluentBundle:
    # Fluent would put marks of direction around each value. Names have <bdi> around them already, and all languages
    # here are written from left to right. In titles, and so in names of files, the marks would be garbage.
    bundle = FluentBundle([language], use_isolating=False)
    bundle.add_resource(FluentResource(resource(language)))
    return bundle


def _pattern(language: str, message: str) -> tuple[FluentBundle, Any]:
    bundle = _bundle(language)
    if not bundle.has_message(message):
        bundle = _bundle(LANGUAGES[0])
    return bundle, bundle.get_message(message).value


@lru_cache(maxsize=4_096)
def _parts(language: str, message: str, *numbers: tuple[str, int | None]) -> tuple[str, ...]:
    """Return a message in parts: text, name of a value, text, ... Fluent takes 20 µs, and no long values."""
    bundle, pattern = _pattern(language, message)
    values = {name: f"{OPEN}{name}{OPEN}" if number is None else number for name, number in numbers}
    shown, _ = bundle.format_pattern(pattern, values)
    return tuple(str(shown).split(OPEN))


class _OpenCount(FluentType, str):
    """A form of numbers, such as ``one``: it decides between the forms of a text, and the number is put in later."""

    def format(self, locale: Locale) -> str:  # type: ignore[override]
        return "{count}"


@cache
def _for_scripts(language: str, messages: tuple[str, ...]) -> str:
    values = {name: f"{{{name}}}" for name in SCRIPT_VALUES}
    texts: dict[str, str | Mapping[str, str]] = {}
    for message in messages:
        bundle, pattern = _pattern(language, message)
        forms = {
            form: str(bundle.format_pattern(pattern, {**values, "count": _OpenCount(form)})[0])
            for form in ("other", *sorted(Locale(language).plural_form.tags))
        }
        texts[message] = forms if len(set(forms.values())) > 1 else forms["other"]
    return json.dumps(texts, ensure_ascii=False)


@cache
def _reasons() -> tuple[dict[str, str], dict[str, re.Pattern[str]]]:
    """Return the reasons that are always the same, and patterns of those with values, by message."""
    english = LANGUAGES[0]
    fixed, patterns = {}, {}
    for message in re.findall(r"^(reason-[a-z-]+) =", resource(english), re.MULTILINE):
        parts = _parts(english, message, *((name, None) for name in REASON_VALUES))
        if len(parts) == 1:
            fixed[parts[0]] = message
        else:
            pieces = (
                f"(?P<{part}>{REASON_VALUES[part]})" if place % 2 else re.escape(part)
                for place, part in enumerate(parts)
            )
            patterns[message] = re.compile("".join(pieces), re.DOTALL)
    return fixed, patterns
