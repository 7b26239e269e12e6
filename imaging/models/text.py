"""The text tower: open_clip's tokenizer and text transformer, small, knowing only the words it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import TextTransformer
from torch import nn

#: Ids of the pruned vocabulary that are not words; words follow, the end of text comes last (the tower pools there).
PAD, UNKNOWN, START, FIRST_WORD = 0, 1, 2, 3


@dataclass(frozen=True)
class TextConfig:
    """Size of the text tower."""

    context: int = 24
    width: int = 192
    heads: int = 4
    layers: int = 3

    def to_json(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return asdict(self)


@lru_cache(maxsize=1)
def byte_pair_tokenizer() -> SimpleTokenizer:
    """open_clip's byte-pair tokenizer; its vocabulary ships with the package."""
    return SimpleTokenizer()


@dataclass(frozen=True)
class Vocabulary:
    """The byte pairs the tower knows, as ids of open_clip's tokenizer in increasing order."""

    ids: tuple[int, ...]

    @classmethod
    def of_texts(cls, texts: Sequence[str]) -> Vocabulary:
        """The vocabulary that covers `texts`."""
        encode = byte_pair_tokenizer().encode
        return cls(tuple(sorted({i for text in texts for i in encode(text)})))

    @property
    def size(self) -> int:
        """Number of embeddings, special ones included."""
        return FIRST_WORD + len(self.ids) + 1

    def unknown_words(self, text: str) -> tuple[str, ...]:
        """Words of `text` with a byte pair the tower never met, in order."""
        known = set(self.ids)
        encode = byte_pair_tokenizer().encode
        return tuple(word for word in text.split() if any(i not in known for i in encode(word)))

    def tokenize(self, texts: Sequence[str], *, context: int) -> torch.Tensor:
        """Texts to ids of the pruned vocabulary, int64 (n, context); cut at `context`, unknown pairs become UNKNOWN."""
        place = {token: FIRST_WORD + i for i, token in enumerate(self.ids)}
        end = self.size - 1
        rows = torch.full((len(texts), context), PAD, dtype=torch.int64)
        for row, text in zip(rows, texts, strict=True):
            words = [place.get(i, UNKNOWN) for i in byte_pair_tokenizer().encode(text)][: context - 2]
            row[: len(words) + 2] = torch.tensor([START, *words, end])
        return rows


class TextTower(nn.Module):
    """Prompts to unit vectors in the space of the image tower's tokens."""

    def __init__(self, config: TextConfig, vocabulary: Vocabulary, *, embedding: int) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        self.transformer = TextTransformer(
            context_length=config.context,
            vocab_size=vocabulary.size,
            width=config.width,
            heads=config.heads,
            layers=config.layers,
            output_dim=embedding,
            pool_type="argmax",
        )

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids (n, context) to L2-normalised embeddings (n, embedding)."""
        return nn.functional.normalize(self.transformer(ids).float(), dim=-1)

    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Texts to L2-normalised embeddings (n, embedding), on the tower's device."""
        ids = self.vocabulary.tokenize(texts, context=self.config.context)
        embeddings: torch.Tensor = self(ids.to(next(self.parameters()).device))
        return embeddings
