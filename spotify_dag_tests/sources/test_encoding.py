"""Tests of bytes to text."""

from __future__ import annotations

import codecs
import io

import pytest

from spotify_dag.sources.encoding import Decoder


def text_of(content: bytes) -> str:
    return "".join(Decoder(io.BytesIO(content)).blocks())


WIDE = {
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
TEXTS = [
    "",
    "A",
    "上",
    "上海",
    "上上上\n上上",
    "Björk\tJóga\n",
    "Земфира\r\nИскала\r\n",
    "椎名林檎,丸の内サディスティック\n",
    "a\rb\r",
    "上\n" * 200,
]


class TestMarks:
    @pytest.mark.parametrize("encoding", list(WIDE))
    @pytest.mark.parametrize("text", TEXTS)
    def test_a_marked_text_is_read_as_what_its_mark_says(self, encoding: str, text: str) -> None:
        assert text_of(WIDE[encoding] + text.encode(encoding)) == text

    @pytest.mark.parametrize("encoding", list(WIDE))
    @pytest.mark.parametrize("text", ["Björk\tJóga\n", "Земфира\tИскала\n", "椎名林檎\t丸の内\n", "a\tb\n"])
    @pytest.mark.parametrize("before", ["", "\n", "\x00\x00\n"])
    @pytest.mark.parametrize("times", [10, 300])
    def test_a_damaged_first_line_that_looks_like_a_mark_costs_no_other_line(
        self, encoding: str, text: str, before: str, times: int
    ) -> None:
        read = text_of(WIDE[encoding] + before.encode() + text.encode() * times)
        assert read.endswith(text * (times if before else times - 1))
