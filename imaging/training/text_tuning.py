"""Teach the text tower more wordings while the image tower stands still, and detection with it.

The image tower looks at each window once. What it saw meets many wordings of what the readers said of the nodule, and
only the text tower learns. In the end the smallest change of its last projection puts the sentences that detect exactly
where they were (least squares by the pseudo-inverse), so that no logit of a nodule moves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from imaging.models.network import NoduleNet, pool_tokens
from imaging.models.prompts import NODULE, all_sentences, attribute_names, concepts
from imaging.models.text import PAD, UNKNOWN, TextTower
from imaging.training.losses import prompt_targets
from imaging.training.seen_windows import Progress, Seen
from imaging.training.text_anchors import (
    blended,
    check_direction,
    detecting_sentences,
    put_back,
    said_before,
    with_vocabulary,
)
from imaging.training.wordings import SIDES, Side, draw_sentence, wordings

#: So many of the sentences that detect are held in place a step; the end puts all of them back.
HELD = 7
#: A sentence is drawn with strange words in it with this chance, so that one unknown word does not turn its meaning.
STRANGE = 0.3
#: So many at most.
STRANGE_WORDS = 3
#: A nodule is there or not: a third side says no more than the second.
WHOLE: tuple[Side, ...] = ("present", "absent")
#: Sentences are embedded in so many groups by length.
GROUPS = 3


@dataclass(frozen=True)
class TuningRecipe:
    """Everything that decides a run, besides the weights it starts from and its cases.

    Args:
        steps: of the optimizer.
        ways: wordings a step of each side of each attribute.
        windows: windows a step of each kind, with and without a nodule, whose tokens meet prompts.
        rate: highest learning rate; a short warm-up, then a cosine to a hundredth.
        weight_decay: of matrices.
        kept: how much of a label is what the prompts of `prompts.json` said before the run; the rest are the readers'
            ratings. The image tower has learned from the ratings of these very windows, so that fitting them again
            fits what it knows by heart: on `val`, calcification fell from 0.907 to 0.855 with none kept.
        alone, prompts, nodule, anchor: weights of parts of the loss, beside that of a sentence against its opposite.
        seed: of wordings and windows.
    """

    steps: int = 1200
    ways: int = 2
    windows: int = 48
    rate: float = 1e-3
    weight_decay: float = 0.05
    kept: float = 0.9
    alone: float = 0.5
    prompts: float = 0.3
    nodule: float = 0.3
    anchor: float = 30.0
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain values."""
        return asdict(self)


def tune_text(
    net: NoduleNet, seen: Seen, recipe: TuningRecipe, *, on_progress: Progress | None = None
) -> tuple[NoduleNet, list[dict[str, float]]]:
    """A net whose text tower has learned the wordings; all else, and the nodule direction, is as in `net`.

    Args:
        net: stays as it is.
        seen: by `net`.
        recipe: of the run.
        on_progress: called as (steps done, steps); may raise to cancel.

    Returns:
        the net in evaluation mode, and the losses every so many steps.

    Raises:
        ModelError: ``text.moved`` if the nodule direction cannot be put back where it was.
    """
    torch.manual_seed(recipe.seed)
    tuned = with_vocabulary(net, (*all_sentences(), *wordings().texts()))
    tuned.requires_grad_(False)
    tuned.text.requires_grad_(True)
    loss = _Loss(net, tuned, seen, recipe)
    history = _descend(tuned, loss, recipe, on_progress)
    put_back(tuned.text, net.text, detecting_sentences())
    tuned.requires_grad_(True).eval()
    check_direction(net, tuned)
    return tuned, history


def _descend(
    tuned: NoduleNet, loss: _Loss, recipe: TuningRecipe, on_progress: Progress | None
) -> list[dict[str, float]]:
    chance = torch.Generator().manual_seed(recipe.seed)
    plain = [p for n, p in tuned.text.named_parameters() if p.ndim < 2 or "embedding" in n]
    matrices = [p for n, p in tuned.text.named_parameters() if not (p.ndim < 2 or "embedding" in n)]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98))
    history = []
    warm = max(1, recipe.steps // 20)
    for step in range(recipe.steps):
        if on_progress is not None:
            on_progress(step, recipe.steps)
        share = min((step + 1) / warm, 0.01 + 0.99 * math.cos(math.pi / 2 * step / recipe.steps) ** 2)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * share
        total, parts = loss(chance)
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(tuned.text.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % max(1, recipe.steps // 20) == 0:
            history.append({"step": step + 1, **{name: float(value.detach()) for name, value in parts.items()}})
    if on_progress is not None:
        on_progress(recipe.steps, recipe.steps)
    return history


# --- the loss ---------------------------------------------------------------------------------------------------------


class _Loss:
    """Draws wordings and windows, and says how badly they fit."""

    def __init__(self, net: NoduleNet, tuned: NoduleNet, seen: Seen, recipe: TuningRecipe) -> None:
        self._tuned, self._seen, self._recipe = tuned, seen, recipe
        whole = concepts()[NODULE]
        with torch.inference_mode(False), torch.no_grad():
            self._anchored = net.text.embed(detecting_sentences())
            self._some, self._none = net.text.embed(whole.present).mean(0), net.text.embed(whole.absent).mean(0)
        nodule = seen.labels[:, 0]
        self._with, self._without = torch.nonzero(nodule >= 0.5)[:, 0], torch.nonzero(nodule < 0.1)[:, 0]
        self._scale = tuned.log_scale.exp().detach()
        self._pooled = seen.pooled[self._with]
        self._targets = blended(seen.labels[self._with, 1:], said_before(net, self._pooled), recipe.kept)
        share = self._targets.nanmean(dim=0).nan_to_num(nan=0.5).clamp(0.02, 0.98)
        self._balance = (1 - share).log() - share.log()

    def __call__(self, chance: torch.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of one draw and its parts."""
        ways, recipe = self._recipe.ways, self._recipe
        names = attribute_names()
        texts = [draw_sentence(name, side, chance) for side in SIDES for name in names for _ in range(ways)]
        texts += [draw_sentence(NODULE, side, chance) for side in WHOLE for _ in range(ways)]
        held = torch.randperm(len(self._anchored), generator=chance)[:HELD]
        vectors = self._embed([detecting_sentences()[i] for i in held.tolist()], texts, chance)
        anchors, rest = vectors[:HELD], vectors[HELD:]
        sides = rest[: 3 * len(names) * ways].reshape(3, len(names), ways, -1)
        nodule = rest[3 * len(names) * ways :].reshape(2, ways, -1)
        parts = {
            "anchor": (anchors - self._anchored[held]).square().sum(dim=1).mean(),
            **self._attributes(*sides),
            **self._prompts(sides[0], sides[1], nodule, chance),
        }
        weights = {
            "anchor": recipe.anchor,
            "pair": 1.0,
            "alone": recipe.alone,
            "prompts": recipe.prompts,
            "nodule": recipe.nodule,
        }
        return sum((weights[name] * value for name, value in parts.items()), torch.zeros(())), parts

    def _embed(self, as_they_are: Sequence[str], texts: Sequence[str], chance: torch.Generator) -> torch.Tensor:
        text = self._tuned.text
        kept, changed = (text.vocabulary.tokenize(t, context=text.config.context) for t in (as_they_are, texts))
        return embed_sorted(text, torch.cat([kept, with_strange_words(changed, chance)]))

    def _attributes(self, present: torch.Tensor, absent: torch.Tensor, denied: torch.Tensor) -> dict[str, torch.Tensor]:
        """A sentence against an opposite, and each alone against the class' share, over all windows with a nodule."""
        pooled, labels = self._pooled, self._targets
        yes, no, not_there = (torch.einsum("nd,awd->nwa", pooled, v) * self._scale for v in (present, absent, denied))
        pair = (_masked(yes - no, labels) + _masked(yes - not_there, labels)) / 2
        alone = [
            _masked(sign * (side - side.detach().mean(dim=0)) - self._balance, labels)
            for sign, side in ((1, yes), (-1, no), (-1, not_there))
        ]
        return {"pair": pair, "alone": torch.stack(alone).mean()}

    def _prompts(
        self, present: torch.Tensor, absent: torch.Tensor, nodule: torch.Tensor, chance: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """Prompts against "no nodule" over the tokens of some windows, and nodules in other words."""
        index = torch.cat([_some(part, self._recipe.windows, chance) for part in (self._with, self._without)])
        tokens, labels = self._seen.tokens[index].float(), self._seen.labels[index]
        directions = torch.cat(
            [(torch.cat([present, absent]) - self._none).flatten(0, 1), nodule[0] - self._none, self._some - nodule[1]]
        )
        pooled = pool_tokens(self._tuned.logits_of(tokens, directions))
        ways, kinds = present.shape[1], 2 * len(present)
        has = prompt_targets(labels)[:, 1:]
        lacks = torch.where(labels[:, :1] < 0.1, has, 1 - has)
        said = pooled[:, : kinds * ways].reshape(len(index), kinds, ways).transpose(1, 2)
        detect = pooled[:, kinds * ways :]
        return {
            "prompts": _masked(said, torch.cat([has, lacks], dim=1)),
            "nodule": cross_entropy(detect, labels[:, :1].expand_as(detect)),
        }


def embed_sorted(text: TextTower, ids: torch.Tensor) -> torch.Tensor:
    """As ``text(ids)``, in groups of sentences of like length without the columns that only pad: half of the work."""
    order = (ids != PAD).sum(dim=1).argsort()
    vectors = torch.cat([_embed_short(text, ids[group]) for group in order.tensor_split(GROUPS) if len(group)])
    return vectors[order.argsort()]


def _embed_short(text: TextTower, ids: torch.Tensor) -> torch.Tensor:
    longest = int((ids != PAD).sum(dim=1).max())
    mask = text.transformer.attn_mask
    text.transformer.attn_mask = mask[:longest, :longest]
    try:
        vectors: torch.Tensor = text(ids[:, :longest])
        return vectors
    finally:
        text.transformer.attn_mask = mask


def _masked(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy of (n, ways, concepts) with (n, concepts) where known, each concept weighing the same."""
    known = ~labels.isnan()
    targets = labels.nan_to_num(nan=0.0)[:, None].expand_as(logits)
    raw = cross_entropy(logits, targets, reduction="none").mean(dim=1) * known
    return (raw.sum(dim=0) / known.sum(dim=0).clamp(min=1)).mean()


def _some(members: torch.Tensor, number: int, chance: torch.Generator) -> torch.Tensor:
    if not len(members):
        return members
    return members[torch.randint(0, len(members), (number,), generator=chance)]


def with_strange_words(ids: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
    """Token ids (n, context) with a few unknown words put in here and there, never in place of a known one."""
    strange = ids.clone()
    context = ids.shape[1]
    for number in torch.nonzero(torch.rand(len(ids), generator=chance) < STRANGE)[:, 0].tolist():
        row = ids[number][ids[number] != PAD].tolist()
        count = min(1 + int(torch.randint(0, STRANGE_WORDS, (1,), generator=chance)), context - len(row))
        at = 1 + int(torch.randint(0, len(row) - 1, (1,), generator=chance))
        row[at:at] = [UNKNOWN] * max(count, 0)
        strange[number, : len(row)] = torch.tensor(row)
    return strange
