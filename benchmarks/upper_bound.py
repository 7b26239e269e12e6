"""What each kind of supervision gives at the same budget: the upper bound with outlines, and the weak arms beside it.

    python -m benchmarks.upper_bound --arm labels|simulated|own|outlines -o FOLDER [--from-scratch] [--steps 600]

All arms begin with the shipped weights, or with the same image tower that has learned nothing, and see the same windows
of split `train` in the same order, changed in the same ways; the text tower is the shipped one and stands still.
``labels`` (arm A) learns from the label of the window alone. ``simulated`` (arm B) has windows into which a lesion or
vessels were drawn among them. ``outlines`` is the upper bound: what lies inside the outline of two readers is told from
what lies outside any. ``own`` does so with the region of the shipped net's own evidence instead (self-training, arm C):
no outline is read for it but to say whether a window holds a nodule. FOLDER then serves as --weights of the other
benchmarks.

Places are used here and nowhere in `imaging.training`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import avg_pool2d, max_pool2d, pad
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.lidc_data import SHARED
from imaging.io.atomic import atomic_folder
from imaging.models.cams import CamSettings, mirrored_cams
from imaging.models.intensity import normalize_bytes
from imaging.models.network import NoduleNet
from imaging.models.vision import TOKEN_PIXELS, VisionConfig
from imaging.models.weights import LoadedModel, load_model
from imaging.provenance import file_sha256
from imaging.training.augment import restyled, turned
from imaging.training.cases import CaseSet
from imaging.training.engine import TOLD_EVERY, parameter_groups
from imaging.training.losses import Opinions, Sentences, opinions, weak_loss
from imaging.training.pace import StepPace
from imaging.training.recipe import Recipe
from pipelines.preparation.cutting import Poses, cut_masks, sampling_grid
from pipelines.preparation.lidc_crops import Crops, concept_columns, read_crops
from pipelines.preparation.synthesis import synthesize
from pipelines.preparation.windows import cut_holding, free_windows
from pipelines.training_record import write_net

ARMS: Final = ("labels", "simulated", "own", "outlines")
#: Arms whose loss knows where in a window the lesion is thought to lie.
LOCAL_ARMS: Final = ("own", "outlines")
#: What a pixel of a window is: free of nodules, too near to one to say, inside the nodule.
FREE, NEAR, INSIDE = 0, 1, 2
#: Share of a token's pixels from which on it lies inside.
INSIDE_SHARE: Final = 0.25
#: Of the strongest evidence: what counts as the lesion itself, and what may not be called free of it.
HALF, TENTH = 0.5, 0.1
#: Pixels of 0.7 mm around a lesion that are neither inside nor free: 3 mm.
RING: Final = 4
#: Windows cut of each nodule, and tries for one free of nodules to each of them: about one in eight has enough lung.
A_NODULE, FREE_TRIES = 8, 6
#: Weight of what knows places, beside the loss of `imaging.training`.
LOCAL: Final = 0.5
#: How each arm is trained on, and how it is trained from scratch.
RECIPE: Final = Recipe(steps=600, rate=2e-4, warmup=30, ema=0.99)
SCRATCH: Final = Recipe(steps=600, rate=1e-3, warmup=60, ema=0.99)

#: Windows, their labels and what their pixels are.
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows with what each pixel is; uint8 (n, slices, h, w), float32 (n, concepts), uint8 (n, h, w)."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.float32]
    where: npt.NDArray[np.uint8]


# --- windows and places ----------------------------------------------------------------------------------------------


def cut(folder: Path, config: VisionConfig, *, seed: int) -> tuple[Windows, Windows]:
    """Windows of split `train` that hold a nodule, with the readers' outlines, and windows far from any."""
    crops = read_crops(folder, split="train")
    rng = np.random.default_rng(seed)
    images, poses = cut_holding(crops, config, rng, a_nodule=A_NODULE)
    inside, near = (window_masks(crops, masks, poses, config) for masks in (crops.agreed, crops.taken))
    holding = Windows(images, crops.labels[poses.row], _regions(inside >= 0.5, near > 0))
    free = free_windows(crops, config, rng, number=FREE_TRIES * len(images))
    nothing = np.zeros((len(free), *holding.where.shape[1:]), np.uint8)
    return holding, Windows(free.images, free.labels, nothing)


def with_simulated(holding: Windows, free: Windows, config: VisionConfig, *, seed: int) -> tuple[Windows, Windows]:
    """Both kinds with windows of `free` among them into which a lesion or vessels were drawn, as for arm B."""
    drawn = synthesize(
        CaseSet(free.images, free.labels, concept_columns(), np.zeros(len(free.images), np.uint8), ("lidc",)),
        config,
        np.random.default_rng(seed),
    )
    lesion = drawn.labels[:, 0] > 0
    return _more(holding, drawn.images[lesion], drawn.labels[lesion]), _more(
        free, drawn.images[~lesion], drawn.labels[~lesion]
    )


def _more(some: Windows, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.float32]) -> Windows:
    """With more windows, of which nobody says where anything lies."""
    nowhere = np.full((len(images), *some.where.shape[1:]), NEAR, np.uint8)
    return Windows(
        *(
            np.concatenate(pair)
            for pair in zip((some.images, some.labels, some.where), (images, labels, nowhere), strict=True)
        )
    )


def window_masks(crops: Crops, masks: torch.Tensor, poses: Poses, config: VisionConfig) -> torch.Tensor:
    """Masks of crops as windows see them: float32 (n, h, w) between 0 and 1."""
    window_mm, cut_out = config.window_pixels * config.pixel_mm, []
    for start in range(0, len(poses), 1024):
        part = poses.part(slice(start, start + 1024))
        grid = sampling_grid(part, crops.stacks, window_pixels=config.window_pixels, window_mm=window_mm)
        cut_out.append(cut_masks(masks, part, grid))
    return torch.cat(cut_out)


def _regions(inside: torch.Tensor, near: torch.Tensor) -> npt.NDArray[np.uint8]:
    what = torch.where(inside, INSIDE, torch.where(near, NEAR, FREE))
    return what.to(torch.uint8).cpu().numpy()


def own_regions(model: LoadedModel, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """What the net itself takes for the lesion: evidence above half of its strongest, joined to it."""
    from scipy import ndimage

    found, settings = [], CamSettings.of_model(model)
    for start in range(0, len(images), 32):
        maps, _ = mirrored_cams(
            model.net, normalize_bytes(torch.from_numpy(images[start : start + 32])), settings=settings
        )
        for evidence in maps:
            top = evidence.max()
            parts, _ = ndimage.label(evidence >= HALF * top)
            inside = parts == parts[np.unravel_index(int(evidence.argmax()), evidence.shape)]
            near = torch.from_numpy(inside | (evidence >= TENTH * top)).float()[None, None]
            near = max_pool2d(near, 2 * RING + 1, 1, RING)[0, 0] > 0
            found.append(_regions(torch.from_numpy(inside), near))
        if start % 1600 == 0:
            print(f"own evidence: {start} of {len(images)} windows", flush=True)
    return np.stack(found)


# --- the loss --------------------------------------------------------------------------------------------------------


def token_places(where: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which tokens lie inside a lesion and which are free of any: (n, h, w) to two bool (n, th, tw).

    Token i speaks of the pixels around 4 i (`imaging.models.vision.TOKEN_SHIFT`). A lesion smaller than a token has the
    token that holds most of it.
    """
    half, side = TOKEN_PIXELS // 2, where.shape[-1]

    def over_tokens(mask: torch.Tensor) -> torch.Tensor:
        return avg_pool2d(pad(mask.float()[:, None], (half, 0, half, 0))[..., :side, :side], TOKEN_PIXELS)[:, 0]

    share = over_tokens(where == INSIDE)
    most = share.flatten(1).amax(dim=1)[:, None, None]
    inside = (share >= torch.minimum(most, torch.tensor(INSIDE_SHARE))) & (share > 0)
    return inside, over_tokens(where != FREE) == 0


def local_loss(said: Opinions, nodule: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """The tokens inside a lesion are a bag with the window's label, those free of any a bag without a nodule."""
    tokens = said.tokens[:, 0]
    inside, free = token_places(where)
    within, outside = (tokens.masked_fill(~part, -torch.inf).flatten(1) for part in (inside, free))
    held, empty = inside.flatten(1).any(dim=1), free.flatten(1).any(dim=1)
    loss = cross_entropy(outside[empty].logsumexp(dim=1), torch.zeros(int(empty.sum())))
    if held.any():
        loss = loss + cross_entropy(within[held].logsumexp(dim=1), nodule[held])
    return loss


# --- the run ---------------------------------------------------------------------------------------------------------


def begin(start: LoadedModel, *, from_scratch: bool, seed: int) -> NoduleNet:
    """The net that an arm begins with: the shipped one, or one whose image tower has learned nothing."""
    if not from_scratch:
        return start.net
    torch.manual_seed(seed)
    learned, config = start.net.text.state_dict(), start.net.to_json()
    net = NoduleNet.from_json(config)
    net.text.load_state_dict(learned)
    return net


def train_on(net: NoduleNet, holding: Windows, free: Windows, recipe: Recipe, *, local: bool) -> NoduleNet:
    """The running mean of the net's weights after `recipe.steps` more steps."""
    net.text.requires_grad_(False)
    net.train()
    mean = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))
    optimizer = torch.optim.AdamW(parameter_groups(net, recipe.weight_decay), lr=recipe.rate, betas=(0.9, 0.98))
    pace = StepPace(recipe.steps, warmup=recipe.warmup)
    chance = torch.Generator().manual_seed(recipe.seed)
    torch.manual_seed(recipe.seed)
    began = time.monotonic()
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * pace.rate_share(step)
        loss, parts = _loss(net, _batch(holding, free, recipe, chance), Sentences.draw(chance), recipe, local=local)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        mean.update_parameters(net)
        if (step + 1) % TOLD_EVERY == 0:
            told = ", ".join(f"{name} {float(value):.4f}" for name, value in parts.items())
            print(f"step {step + 1} of {recipe.steps}, {time.monotonic() - began:.0f} s: {told}", flush=True)
    trained: NoduleNet = mean.module.eval()
    return trained


def _loss(
    net: NoduleNet, batch: Batch, sentences: Sentences, recipe: Recipe, *, local: bool
) -> tuple[torch.Tensor, dict[str, float | torch.Tensor]]:
    """The loss of `imaging.training`, and what knows places beside it."""
    x, labels, where = batch
    # The plain attention: the fused one of a CPU takes twice as long on the way back.
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        said = opinions(net, x, sentences)
    loss, parts = weak_loss(said, labels, recipe.weights)
    if local:
        places = local_loss(said, labels[:, 0], where)
        loss, parts = loss + LOCAL * places, {**parts, "local": places.detach()}
    return loss, parts


def _batch(holding: Windows, free: Windows, recipe: Recipe, chance: torch.Generator) -> Batch:
    """Windows in both kinds, turned together with their regions, then changed in grey; all chance from `chance`."""
    many = round(recipe.batch * recipe.positives)
    picked = [
        (each, torch.randint(len(each.images), (n,), generator=chance).numpy())
        for each, n in ((holding, many), (free, recipe.batch - many))
    ]
    x = torch.cat([normalize_bytes(torch.from_numpy(each.images[at])) for each, at in picked])
    where = torch.cat([torch.from_numpy(each.where[at]) for each, at in picked])
    labels = torch.cat([torch.from_numpy(each.labels[at]) for each, at in picked])
    both = turned(torch.cat([x, where[:, None].float()], dim=1), chance)
    return restyled(both[:, :-1], chance), labels, both[:, -1].round().to(torch.uint8)


def write(
    net: NoduleNet,
    start: LoadedModel,
    folder: Path,
    *,
    arm: str,
    recipe: Recipe,
    counts: Sequence[int],
    from_scratch: bool = False,
) -> None:
    """A folder that `--weights` takes; the card is that of the shipped weights."""
    name = f"trained-{'from-scratch' if from_scratch else 'on'}-with-{arm}"
    with atomic_folder(folder, replace=True) as unfinished:
        path = unfinished / f"{name}.safetensors"
        write_net(net, path)
        card: dict[str, Any] = {**start.card, "name": name, "file": path.name, "sha256": file_sha256(path)}
        card |= {
            "arm": arm,
            "start": "scratch" if from_scratch else start.name,
            "recipe": recipe.to_json(),
            "windows": list(counts),
        }
        manifest = {"schema_version": 1, "default": name, "models": [card]}
        (unfinished / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train one arm."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upper_bound", description=__doc__.splitlines()[0])
    parser.add_argument("--arm", choices=ARMS, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--from-scratch", action="store_true", help="begin with an untrained image tower")
    parser.add_argument("--steps", type=int, default=RECIPE.steps)
    parser.add_argument("--seed", type=int, default=RECIPE.seed)
    parser.add_argument("--crops", type=Path, default=SHARED / "lidc_crops")
    options = parser.parse_args(arguments)
    scratch: bool = options.from_scratch
    if scratch and options.arm == "own":
        parser.error("a net that has learned nothing has no evidence of its own")
    recipe = replace(SCRATCH if scratch else RECIPE, steps=options.steps, seed=options.seed)
    start = load_model()
    config = start.net.vision.config
    holding, free = cut(options.crops, config, seed=recipe.seed)
    if options.arm == "simulated":
        holding, free = with_simulated(holding, free, config, seed=recipe.seed)
    counts = len(holding.images), len(free.images)
    print("{} windows with a nodule, {} without".format(*counts), flush=True)
    if options.arm == "own":
        holding = Windows(holding.images, holding.labels, own_regions(start, holding.images))
    net = begin(start, from_scratch=scratch, seed=recipe.seed)
    net = train_on(net, holding, free, recipe, local=options.arm in LOCAL_ARMS)
    write(net, start, options.output, arm=options.arm, recipe=recipe, counts=counts, from_scratch=scratch)


if __name__ == "__main__":
    main()
