"""How a window's label meets its tokens: through the pooled logit only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from imaging.models.network import NoduleNet, attention_of, attribute_pool, pool_tokens
from imaging.models.prompts import NODULE, concepts
from imaging.training.processes import mean_over_processes
from imaging.training.wordings import draw_sentence


@dataclass(frozen=True)
class LossWeights:
    """How much each part of the loss counts."""

    gate: float = 0.3
    prompts: float = 0.3
    attributes: float = 0.3


@dataclass(frozen=True, eq=False)
class Sentences:
    """One way to say each concept, drawn for a batch: present and absent, in the order of `concepts`."""

    present: tuple[str, ...]
    absent: tuple[str, ...]

    @classmethod
    def draw(cls, generator: torch.Generator) -> Sentences:
        """Draw with a CPU generator, see `draw_sentence`."""
        present = tuple(draw_sentence(name, "present", generator) for name in concepts())
        return cls(present, tuple(draw_sentence(name, "absent", generator) for name in concepts()))


@dataclass(frozen=True, eq=False)
class Opinions:
    """What the towers say of a batch of windows.

    Args:
        gate: (n,) the stem's logit of a nodule.
        tokens: (n, 1 + concepts, th, tw) logit of each token: "nodule" in all its sentences, then each prompt.
        attributes: (n, concepts - 1) logit of each attribute where the nodule is.
    """

    gate: torch.Tensor
    tokens: torch.Tensor
    attributes: torch.Tensor


def opinions(net: NoduleNet, x: torch.Tensor, sentences: Sentences) -> Opinions:
    """What a net in training says of (n, slices, h, w) normalised windows, in this batch's sentences."""
    features = net.vision.stem(x)
    gate = pool_tokens(net.vision.gate_logits(features).float())
    tokens = net.vision.encode(features)
    whole = concepts()[NODULE]
    present, absent, some, none = _embedded(net, sentences.present, sentences.absent, whole.present, whole.absent)
    directions = torch.cat([some.mean(dim=0)[None], present]) - none.mean(dim=0)
    logits = net.logits_of(tokens, directions)
    attended = attribute_pool(tokens, attention_of(logits[:, 0].detach()))
    return Opinions(gate, logits, attended @ (present - absent)[1:].T * net.log_scale.exp())


def weak_loss(
    said: Opinions, labels: torch.Tensor, weights: LossWeights
) -> tuple[torch.Tensor, dict[str, float | torch.Tensor]]:
    """The loss of a batch and its parts.

    Args:
        said: of the batch.
        labels: (n, concepts) probabilities, NaN unknown; the first column is ``nodule``.
        weights: of the parts.
    """
    pooled = pool_tokens(said.tokens)
    nodule = labels[:, 0]
    detect = cross_entropy(pooled[:, 0], nodule)
    loss = detect + weights.gate * cross_entropy(said.gate, nodule)
    loss = loss + weights.prompts * _masked(pooled[:, 1:], prompt_targets(labels))
    known = labels[:, 1:].masked_fill((nodule < 0.5)[:, None], torch.nan)
    attributes = _masked(said.attributes, known)
    return loss + weights.attributes * attributes, {"nodule": detect.detach(), "attributes": attributes.detach()}


class WeakLoss(torch.nn.Module):
    """`weak_loss` as a module around its net, as engines that spread a step over processes want it."""

    def __init__(self, net: NoduleNet, weights: LossWeights) -> None:
        super().__init__()
        self.net = net
        self._weights = weights

    def forward(
        self, x: torch.Tensor, labels: torch.Tensor, sentences: Sentences
    ) -> tuple[torch.Tensor, dict[str, float | torch.Tensor]]:
        """See `weak_loss`; a batch over several processes gives each of them its own part."""
        return weak_loss(opinions(self.net, x, sentences), labels, self._weights)


def _embedded(net: NoduleNet, *groups: tuple[str, ...]) -> list[torch.Tensor]:
    """Embeddings of several groups of sentences, each sentence embedded once."""
    every = tuple(dict.fromkeys(sentence for group in groups for sentence in group))
    vectors = net.text.embed(every)
    return [vectors[[every.index(sentence) for sentence in group]] for group in groups]


def prompt_targets(labels: torch.Tensor) -> torch.Tensor:
    """What each prompt's pooled logit should say: (n, concepts) in and out, NaN where unknown.

    A window without a nodule holds no nodule of any kind; a window with one holds the kinds that it was labelled with.
    """
    nodule = labels[:, :1]
    kinds = torch.where(nodule < 0.1, torch.zeros_like(labels[:, 1:]), labels[:, 1:])
    return torch.cat([nodule, kinds], dim=1)


def _masked(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy where the target is known, each column weighing the same.

    The known ones of all processes are counted, so that their mean loss is that of the whole batch.
    """
    known = ~targets.isnan()
    raw = cross_entropy(logits, targets.nan_to_num(nan=0.0), reduction="none") * known
    count = mean_over_processes(known.sum(dim=0).float())
    return (raw.sum(dim=0) / torch.where(count > 0, count, 1.0)).mean()
