"""The two towers joined: a token's similarity to prompts gives the label, the map and the coordinates alike.

A token has a logit for a prompt: ``scale * token . (prompt - absent) + bias``, where ``absent`` is the mean embedding
of the sentences that say there is no nodule. The logit of a window pools its tokens by log-sum-exp, a soft "at least
one": it is the only number that a training label ever meets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from imaging.models.prompts import NODULE, Concept, all_sentences, concepts
from imaging.models.text import TextConfig, TextTower, Vocabulary
from imaging.models.vision import VisionConfig, VisionTower


def pool_tokens(logits: torch.Tensor) -> torch.Tensor:
    """Log-sum-exp over the last two axes, the tokens of a window: (..., th, tw) to (...)."""
    return torch.logsumexp(logits.flatten(-2), dim=-1)


class NoduleNet(nn.Module):
    """A ViT over windows and a text tower over prompts, compared token by token."""

    def __init__(self, vision: VisionConfig, text: TextConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.vision = VisionTower(vision)
        self.text = TextTower(text, vocabulary, embedding=vision.embedding)
        self.log_scale = nn.Parameter(torch.tensor(2.0))
        self.bias = nn.Parameter(torch.tensor(-6.0))
        self._cache: dict[tuple[str, ...], torch.Tensor] = {}

    @classmethod
    def fresh(
        cls, vision: VisionConfig | None = None, text: TextConfig | None = None, *, texts: Sequence[str] = ()
    ) -> NoduleNet:
        """An untrained net whose vocabulary covers `prompts.json` and `texts`."""
        return cls(vision or VisionConfig(), text or TextConfig(), Vocabulary.of_texts((*all_sentences(), *texts)))

    def to_json(self) -> dict[str, Any]:
        """What is needed to build the same net again, without its weights."""
        return {
            "vision": self.vision.config.to_json(),
            "text": self.text.config.to_json(),
            "vocabulary": list(self.text.vocabulary.ids),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> NoduleNet:
        """The net that `to_json` describes, untrained."""
        vocabulary = Vocabulary(tuple(values["vocabulary"]))
        return cls(VisionConfig(**values["vision"]), TextConfig(**values["text"]), vocabulary)

    def train(self, mode: bool = True) -> NoduleNet:
        """Switch between training and evaluation; forgets cached prompt embeddings, which training changes."""
        self._cache.clear()
        return super().train(mode)

    def embed_prompts(self, prompts: Sequence[str]) -> torch.Tensor:
        """Prompts to unit vectors (n, embedding); kept while the net is in evaluation mode."""
        key = tuple(prompts)
        if self.training:
            return self.text.embed(key)
        if key not in self._cache:
            with torch.no_grad():
                self._cache[key] = self.text.embed(key)
        return self._cache[key]

    def mean_prompt(self, prompts: Sequence[str]) -> torch.Tensor:
        """Mean embedding of several ways to say the same, (embedding,)."""
        return self.embed_prompts(prompts).mean(dim=0)

    def logits_of(self, tokens: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """Token logits (n, p, th, tw) of embeddings (n, th, tw, d) for prompt directions (p, d)."""
        similarity = torch.einsum("nhwd,pd->nphw", tokens, directions)
        return similarity * self.log_scale.exp() + self.bias

    def nodule_direction(self) -> torch.Tensor:
        """The direction of "nodule" against "no nodule", over all their sentences: (1, d)."""
        concept = concepts()[NODULE]
        return (self.mean_prompt(concept.present) - self.mean_prompt(concept.absent))[None]

    def prompt_directions(self, prompts: Sequence[str]) -> torch.Tensor:
        """The direction of each prompt against "no nodule": (p, d)."""
        return self.embed_prompts(prompts) - self.mean_prompt(concepts()[NODULE].absent)

    def tokens(self, x: torch.Tensor) -> torch.Tensor:
        """Windows (n, slices, h, w) to unit token embeddings (n, th, tw, d)."""
        embeddings: torch.Tensor = self.vision(x)
        return embeddings

    def token_logits(self, x: torch.Tensor) -> torch.Tensor:
        """Nodule logit of each token: (n, slices, h, w) to (n, th, tw)."""
        return self.logits_of(self.tokens(x), self.nodule_direction())[:, 0]

    def window_logit(self, x: torch.Tensor) -> torch.Tensor:
        """Nodule logit of each window: (n, slices, h, w) to (n,)."""
        return pool_tokens(self.token_logits(x))

    def prompt_logits(self, x: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        """Logit of each token for each prompt: (n, slices, h, w) to (n, p, th, tw)."""
        return self.logits_of(self.tokens(x), self.prompt_directions(prompts))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same as `window_logit`."""
        return self.window_logit(x)

    def attribute_logit(self, tokens: torch.Tensor, attention: torch.Tensor, concept: Concept) -> torch.Tensor:
        """Logit that a window's nodule has an attribute: (n,).

        Args:
            tokens: (n, th, tw, d) unit embeddings.
            attention: (n, th, tw), sums to one a window: where the nodule is.
            concept: its present sentences are held against its absent ones.
        """
        direction = self.mean_prompt(concept.present) - self.mean_prompt(concept.absent)
        return attribute_pool(tokens, attention) @ direction * self.log_scale.exp()


def attention_of(token_logits: torch.Tensor) -> torch.Tensor:
    """Where the nodule is: softmax of nodule logits over a window's tokens, (n, th, tw) in and out."""
    return token_logits.flatten(1).softmax(dim=1).reshape(token_logits.shape)


def attribute_pool(tokens: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
    """Mean token embedding under `attention`: (n, d)."""
    return torch.einsum("nhwd,nhw->nd", tokens, attention)
