"""What must not move while the text tower learns: the sentences that detect, the words and the answers it knows.

The smallest change of the last projection (least squares by the pseudo-inverse) puts sentences back where they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch

from imaging.errors import ModelError
from imaging.models.network import NoduleNet
from imaging.models.prompts import NODULE, attribute_names, concepts
from imaging.models.text import FIRST_WORD, TextTower, Vocabulary

#: The nodule direction may differ by so much after a run, in any component.
DIRECTION_TOLERANCE = 1e-4


def detecting_sentences() -> tuple[str, ...]:
    """The sentences whose embeddings make the nodule direction."""
    whole = concepts()[NODULE]
    return (*whole.present, *whole.absent)


@torch.no_grad()
def put_back(tower: TextTower, before: TextTower, sentences: Sequence[str]) -> None:
    """Make `tower` embed `sentences` as `before` does, by the smallest change of its last projection.

    The change lies in the space that the sentences' features span; with fewer sentences than features it is exact.
    """
    wanted = before.embed(sentences).double()
    projection = tower.transformer.text_projection
    assert isinstance(projection, torch.Tensor)
    features = _features(tower, sentences).double()
    now = features @ projection.double()
    target = wanted * (now * wanted).sum(dim=1, keepdim=True).clamp(min=1e-3)
    change = torch.linalg.pinv(features) @ (target - now)
    projection += change.to(projection)


def _features(tower: TextTower, sentences: Sequence[str]) -> torch.Tensor:
    """What the last projection takes: (n, width)."""
    transformer = tower.transformer
    projection = transformer.text_projection
    transformer.text_projection = None
    try:
        ids = tower.vocabulary.tokenize(sentences, context=tower.config.context)
        features: torch.Tensor = transformer(ids.to(projection.device))
        return features
    finally:
        transformer.text_projection = projection


def check_direction(before: NoduleNet, after: NoduleNet) -> float:
    """How far the nodule direction has moved, at most in any component.

    Raises:
        ModelError: ``text.moved`` if that is more than `DIRECTION_TOLERANCE`: scores would change.
    """
    moved = float((before.nodule_direction() - after.nodule_direction()).abs().max())
    if not moved <= DIRECTION_TOLERANCE:
        raise ModelError("text.moved", f"a component of the nodule direction moved by {moved:.2g}")
    return moved


@torch.no_grad()
def with_vocabulary(net: NoduleNet, texts: Sequence[str]) -> NoduleNet:
    """A copy of `net` that also knows the words of `texts`; known words keep their embeddings.

    A new word starts as the mean of the known ones, with a little noise from torch's global generator.
    """
    known = net.text.vocabulary.ids
    ids = tuple(sorted({*known, *Vocabulary.of_texts(texts).ids}))
    wide = NoduleNet.from_json(net.to_json() | {"vocabulary": list(ids)})
    name = "text.transformer.token_embedding.weight"
    state = deepcopy(net.state_dict())
    old = state[name]
    words = old[FIRST_WORD:-1]
    fresh = words.mean(dim=0) + 0.02 * torch.randn(len(ids), old.shape[1])
    for place, token in enumerate(known):
        fresh[ids.index(token)] = words[place]
    state[name] = torch.cat([old[:FIRST_WORD], fresh, old[-1:]])
    wide.load_state_dict(state)
    return wide.eval()


@torch.no_grad()
def said_before(net: NoduleNet, pooled: torch.Tensor) -> torch.Tensor:
    """What the prompts of `prompts.json` say of each attribute: probabilities (n, attributes)."""
    sides = [(concepts()[name].present, concepts()[name].absent) for name in attribute_names()]
    directions = torch.stack([net.text.embed(yes).mean(0) - net.text.embed(no).mean(0) for yes, no in sides])
    return (pooled @ directions.T * net.log_scale.exp()).sigmoid()


def blended(labels: torch.Tensor, before: torch.Tensor, kept: float) -> torch.Tensor:
    """Ratings and what was said before in one; where there is no rating, what was said before, or nothing."""
    unknown = before if kept > 0 else torch.full_like(labels, torch.nan)
    return torch.where(labels.isnan(), unknown, (1 - kept) * labels + kept * before)
