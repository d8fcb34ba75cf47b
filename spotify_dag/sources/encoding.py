"""Bytes to text, the same for every reader of files: byte order marks, UTF-8, UTF-16, code pages of spreadsheets.

A file is UTF-8 until a line of it is not. Lines that are not are read in the code page that makes the most plausible
words of them. In a file that has proved to be UTF-8 most such lines are damaged: their bytes become replacement
characters, and `sources.base.clean` leaves out the names that hold them.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from functools import cache
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

BLOCK = 1 << 18
"""Bytes read at a time."""
LONGEST_LINE = 1 << 20
"""Bytes after which a line is cut."""
SAMPLE = 1 << 14
"""Bytes that are not ASCII, with what is around them, by which a code page is chosen."""
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks. That of UTF-32 begins with that of UTF-16."""
LEAST_TOLD = 32
"""Bytes of a line without an end that tell whether a mark before it is one."""
CODE_PAGES = ("cp1252", "mac_roman", "cp1250", "cp1254", "cp1251", "koi8_r", "cp1253", "cp932", "gbk", "big5", "euc_kr")
"""What spreadsheets and old players write, the likeliest first: it wins a draw."""
REPLACEMENT = "\ufffd"

_TWICE = r"[ÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙâãäåæçèéêëìíîïðĂĹĺÎĎŃРСГПД√≈‚ƒ¬Žž][^\x00-\x7f]"
"""How UTF-8 begins that was read as something else: a sign for a first byte, and one for a byte that goes on."""
_LATIN_TWICE = re.compile("[ÂÃ][\u0080-\u00bf\u0152-\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]")
"""How Latin letters of UTF-8 look that was read as Windows-1252."""
_LETTERS = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
"""What is not ASCII as UTF-8 writes it."""
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_ASCII_TEXT = re.compile(rb"[\t\n\r -~]")
_WORD = re.compile(rb"[A-Za-z'\x80-\xff]+")
_STRAY = frozenset(bytes([byte]) for byte in range(0xC6, 0x100) if byte not in (0xCE, 0xCF, 0xD0, 0xD1))
"""Bytes that alone are rather letters of a code page than the first or a later byte of a letter of UTF-8."""
_COMMON = frozenset("éöüäáóíúñçøåèàâêôîûëïãæœßòùìýşğıłőÉÖÜÄÁÓÍÚÑÇØÅÈÀÂÊÔÎÛËÏÃÆŒšžŠŽðþÞÐ")
_VOWELS = frozenset("aeiouyäöüáéíóúýàèìòùâêîôûãõåæøœëïÿąęěůőűăıAEIOUYÄÖÜÁÉÍÓÚÀÈÌÒÙÂÊÎÔÛÃÕÅÆØŒËÏ")


class Decoder:
    """The text of a stream of bytes, block by block.

    Parameters
    ----------
    stream
        Any bytes.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.encoding = "utf-8"
        """What the text is read as; of one that is not UTF-8 all through, the other encoding."""
        self._proved = False

    def blocks(self) -> Iterator[str]:
        """Yield the text; every block but the last ends with a line or is longer than `LONGEST_LINE`."""
        head = self._stream.read(BLOCK)
        for mark, encoding in MARKS:
            if head.startswith(mark) and (encoding == "utf-8" or not _of_bytes(head[len(mark) :], encoding)):
                self.encoding, head = encoding, head[len(mark) :]
                break
        else:
            self.encoding = _wide(head) or "utf-8"
        if self.encoding != "utf-8":
            yield from self._wide_blocks(head)
            return
        held = head
        while block := self._stream.read(BLOCK):
            end = max(held.rfind(b"\n"), held.rfind(b"\r")) + 1
            if not end and len(held) > LONGEST_LINE:
                end = _whole(held)
            if end:
                yield self._text(held[:end])
            held = held[end:] + block
        if held:
            yield self._text(held)

    def _wide_blocks(self, head: bytes) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder(self.encoding)(errors="replace")
        yield decoder.decode(head)
        while block := self._stream.read(BLOCK):
            yield decoder.decode(block)
        yield decoder.decode(b"", final=True)

    def _text(self, block: bytes) -> str:
        try:
            text = block.decode()
        except UnicodeDecodeError:
            return self._mixed(block)
        self._proved = self._proved or not text.isascii()
        return text

    def _mixed(self, block: bytes) -> str:
        """Decode a block: some of its lines are not UTF-8."""
        lines = block.splitlines(keepends=True)
        if self.encoding == "utf-8" and not self._proved:
            rest = _LETTERS.sub(b"", block)
            self._proved = len(block) - len(rest) > 2 * len(_NOT_ASCII.findall(rest))
            if not self._proved:
                self.encoding = code_page(b"".join(line for line in lines if not _is_utf8(line)))
        return "".join(line.decode(self._of_line(line), "replace") for line in lines)

    def _of_line(self, line: bytes) -> str:
        if _is_utf8(line):
            return "utf-8"
        if self.encoding != "utf-8" and not self._proved:
            return self.encoding
        # One stray byte among UTF-8: a line from elsewhere, or a letter that lost its other bytes.
        return code_page(line) if _STRAY.issuperset(_NOT_ASCII.findall(line)) else "utf-8"


def mended_names(names: pl.Series) -> dict[str, str]:
    """Return names that somebody decoded wrongly before they were saved ("BeyoncÃ©"), and how they are right.

    Parameters
    ----------
    names
        Each name once or more often.
    """
    odd = names.filter(names.str.contains(_TWICE)).unique().to_list()
    if not odd:
        return {}
    from ftfy import fix_encoding

    return {name: mended for name in odd if (mended := _undone(fix_encoding(name))) != name}


def _undone(name: str) -> str:
    """Return a name with Latin letters mended that ftfy leaves where one stands alone: ``Ã…sa``."""
    if not _LATIN_TWICE.search(name):
        return name
    try:
        return name.encode("sloppy-windows-1252").decode()
    except UnicodeError:
        return name


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _whole(block: bytes) -> int:
    """Return where the last whole character of a long line of UTF-8 ends."""
    end = len(block)
    while end > len(block) - 4 and block[end - 1] & 0xC0 == 0x80:
        end -= 1
    return end - 1 if block[end - 1] >= 0xC0 else len(block)


def _of_bytes(text: bytes, encoding: str) -> bool:
    """Return whether a text begins with a mark of UTF-16 or UTF-32 by accident: a damaged first line of other bytes."""
    ends = text.count("\n".encode(encoding))
    plain = text.count(b"\n") - ends
    if ends:
        return plain > 8 * ends  # A letter like U+4E0A holds the byte of a line's end, too.
    if len(text) < LEAST_TOLD:
        return False
    if len(_ASCII_TEXT.findall(text)) > 0.75 * len(text):
        return True
    return text.count(0) < max(1, plain) and _is_utf8(text[: _whole(text)])


def _wide(head: bytes) -> str | None:
    """Return which UTF-16 or UTF-32 without a mark the text is, by where its zero bytes are; None for neither."""
    sample = head[:4096]
    if len(sample) < 4 or b"\x00" not in sample:
        return None
    quarter = max(1, len(sample) // 4)
    zeros = [sample[place::4].count(0) / quarter for place in range(4)]
    if min(zeros[:3]) > 0.7 and zeros[3] < 0.3:
        return "utf-32-be"
    if min(zeros[1:]) > 0.7 and zeros[0] < 0.3:
        return "utf-32-le"
    if min(zeros[0], zeros[2]) > 0.4 and max(zeros[1], zeros[3]) < 0.1:
        return "utf-16-be"
    if min(zeros[1], zeros[3]) > 0.4 and max(zeros[0], zeros[2]) < 0.1:
        return "utf-16-le"
    return None


def code_page(text: bytes) -> str:
    """Return the code page in which some bytes make the most plausible words; Windows-1252 where nothing tells."""
    odd_words: dict[bytes, None] = {}
    size = 0
    for match in _WORD.finditer(text):
        word = match[0][:SAMPLE]
        odd = len(_NOT_ASCII.findall(word))
        if odd and word not in odd_words:
            odd_words[word] = None
            size += odd
        if size >= SAMPLE:
            break
    if not odd_words:
        return "cp1252"
    scores = {page: _plausibility(list(odd_words), page) / size for page in CODE_PAGES}
    return max(scores, key=lambda page: scores[page])


def _plausibility(words: list[bytes], page: str) -> float:
    """Return how many of the bytes that are not ASCII make plausible letters, less those that do not."""
    total = 0.0
    for word in words:
        try:
            # A word that was cut may end inside a letter.
            text = codecs.getincrementaldecoder(page)().decode(word, final=len(word) < SAMPLE)
        except UnicodeDecodeError:
            total -= 2 * len(word)
            continue
        total += _of_word(text) * len(_NOT_ASCII.findall(word)) / max(1, sum(not c.isascii() for c in text))
    return total


def _of_word(text: str) -> float:
    scripts = {_script(c) for c in text if c.isalpha()}
    total = 0.0
    for place, char in enumerate(text):
        if char.isascii():
            continue
        before, after = text[place - 1 : place], text[place + 1 : place + 2]
        script = _script(char)
        if not char.isalpha():
            # A dash, a quotation mark or a sign in the middle of a word.
            total -= 1.0 if char not in "’´`" or not (before.isalpha() and after.isalpha()) else 0.2
        elif (
            script == "other"
            or not (len(scripts) == 1 or scripts == {"kana", "han"})
            or (char.isupper() and before.isalpha() and before.islower())
        ):
            total -= 1.0
        elif script == "latin":
            total += _of_latin(char, before, after)
        elif script == "han":
            total += 0.6 if "kana" not in scripts else 1.0
        elif script == "cyrillic" and (char.islower() or not before):
            total += 0.9
        else:
            total += 0.9 if script in ("kana", "hangul", "greek") else 0.5
    return total


def _of_latin(char: str, before: str, after: str) -> float:
    if char in "þð" and (not before if char == "ð" else before.isalpha()):
        return -0.6  # Þ begins words, ð does not.
    if char in "ýÝ" and not after:
        return 0.2
    total = 0.8 if char in _COMMON or (char == "õ" and after == "e") else 0.6
    neighbours = [c for c in (before, after) if c.isalpha()]
    if neighbours:  # Vowels and consonants take turns: ř is not where ø is.
        turns = sum((c in _VOWELS) != (char in _VOWELS) for c in neighbours)
        total += 0.3 * (2 * turns / len(neighbours) - 1)
    return total


@cache
def _script(char: str) -> str:
    code = ord(char)
    for script, ranges in _SCRIPTS.items():
        if any(first <= code <= last for first, last in ranges):
            return script
    return "other"


_SCRIPTS = {
    "latin": ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F)),
    "greek": ((0x370, 0x3FF),),
    "cyrillic": ((0x400, 0x45F),),
    "kana": ((0x3040, 0x30FF), (0x31F0, 0x31FF)),
    "han": ((0x4E00, 0x9FFF), (0x3005, 0x3007)),
    "hangul": ((0xAC00, 0xD7AF),),
}
