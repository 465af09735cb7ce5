"""Does a model's evidence map deserve to be shown? Five tests on the validation part, their bars declared here.

1. cascade: layers are randomised from the output down (Adebayo et al. 2018). A map that stays as it was does not
   depend on what was learnt. Bar: mean rank correlation with the trained model's map <= .3 at the end.
2. deletion and 3. insertion (Petsiuk et al. 2018): pixels are replaced, or brought back, in the map's order, and the
   finding's log odds are averaged over the shares. Bar: better than the order of random maps and of a centre map.
4. pointing: a soft bright disc is planted on images without the finding; where it raises the log odds by 1 or more,
   the map's maximum should lie in it. Bar: hit more often than random maps and than the centre map.
5. dose: the marked fifth of the image is hidden. Bar: the log odds fall further than for random regions of that size.

"Better" means that the whole 95 % interval of the paired difference (bootstrap over images) is on the right side.
Hidden pixels become the mean image of the class without the finding: blurring or greying would itself look like an
opacity. A map that misses one bar is not shown.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.diagnosis.networks import CnnBasic, Ensemble, Network, ResNet18

Mapper = Callable[[Network, Tensor], Tensor]
"""Network and normalised images (N, 1, H, W) to enlarged maps (N, H, W), high where the evidence is."""
Scorer = Callable[[Tensor], NDArray[np.float64]]
"""Normalised images (N, 1, H, W) to the finding's log odds (N,)."""

LAYERS: dict[type[nn.Module], tuple[str, ...]] = {
    ResNet18: ("head", "stage4", "stage3", "stage2", "stage1", "stem"),
    Ensemble: ("output", "dense", "convolutions.6", "convolutions.3", "convolutions.0"),
    CnnBasic: ("output", "dense", "convolutions.6", "convolutions.3", "convolutions.0"),
}
"""What the cascade randomises one after the other, from the output down."""

SHARES = np.linspace(0.0, 1.0, 11)
CASCADE_BAR = 0.3
DOSE = 0.2
RADIUS = 5.0
"""Radius of the planted disc in pixels of the input."""


def centre_map(count: int, side: int) -> Tensor:
    """Return the map that knows nothing but that the middle matters, (N, H, W)."""
    line = torch.arange(side) - (side - 1) / 2
    return torch.exp(-(line[:, None] ** 2 + line[None, :] ** 2) / (2 * (side / 4) ** 2)).expand(count, side, side)


def random_map(count: int, side: int, seed: int) -> Tensor:
    """Return maps of smooth noise with patches as large as a real map's, (N, H, W)."""
    noise = torch.rand(count, 1, 7, 7, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(noise, (side, side), mode="bicubic")[:, 0]


def hidden(images: Tensor, maps: Tensor, share: float, reference: Tensor, keep: bool = False) -> Tensor:
    """Return images whose highest `share` of map pixels is replaced by `reference` (or alone kept, with `keep`)."""
    count, _, height, width = images.shape
    order = maps.flatten(1).argsort(dim=1, descending=True)
    mask = torch.zeros(count, height * width).scatter_(1, order[:, : round(share * height * width)], 1.0)
    mask = mask.view(count, 1, height, width)
    mask = 1 - mask if keep else mask
    return images * (1 - mask) + reference * mask


def area(score: Scorer, images: Tensor, maps: Tensor, reference: Tensor, keep: bool) -> NDArray[np.float64]:
    """Return each image's mean log odds over the shares of SHARES, (N,)."""
    rows = [score(hidden(images, maps, float(share), reference, keep)) for share in SHARES]
    means: NDArray[np.float64] = np.mean(rows, axis=0)
    return means


def paired(better: NDArray[np.float64], worse: NDArray[np.float64], seed: int = 0) -> dict[str, float]:
    """Return the mean of `better - worse` over images with its 95 % bootstrap interval."""
    gap = better - worse
    index = np.random.default_rng(seed).integers(0, len(gap), (2000, len(gap)))
    low, high = np.quantile(gap[index].mean(axis=1), [0.025, 0.975])
    return {"gain": round(float(gap.mean()), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Return the mean over images of Spearman's correlation of two sets of maps, (N, H, W) each."""
    ranks = [m.flatten(1).argsort(dim=1).argsort(dim=1).double() for m in (a, b)]
    centred = [r - r.mean(dim=1, keepdim=True) for r in ranks]
    top = (centred[0] * centred[1]).sum(dim=1)
    return float((top / (centred[0].norm(dim=1) * centred[1].norm(dim=1))).mean())


def cascade(network: Network, mapper: Mapper, images: Tensor, seed: int = 0) -> dict[str, float]:
    """Return the rank correlation with the trained map after randomising down to each layer, output first."""
    torch.manual_seed(seed)
    kept = mapper(network, images)
    broken = copy.deepcopy(network)
    found: dict[str, float] = {}
    for name in LAYERS[type(network)]:
        for module in _inside(broken, name):
            if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                module.reset_parameters()
        # Fresh kernels need statistics of their own: with those of the trained ones every activation would be absurd.
        # A momentum of 1 makes one pass enough: the running statistics become those of these images.
        for module in broken.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        broken.train()
        with torch.no_grad():
            broken(images)
        found[name] = round(rank_correlation(kept, mapper(broken.eval(), images)), 3)
    return found


def _inside(network: Network, name: str) -> list[nn.Module]:
    """Return the modules in a layer; of an ensemble, in that layer of every member."""
    owners: list[nn.Module] = list(network.members) if isinstance(network, Ensemble) else [network]
    return [module for owner in owners for module in owner.get_submodule(name).modules()]


def plant(images: Tensor, seed: int = 0, amplitude: float = 0.6) -> tuple[Tensor, Tensor]:
    """Return images with a soft bright disc each, and its centre (N, 2) as (row, column).

    The centre lies at least a radius from the edge and off the middle line, where the heart is.
    """
    random = torch.Generator().manual_seed(seed)
    count, _, height, width = images.shape
    rows = RADIUS + torch.rand(count, generator=random) * (height - 1 - 2 * RADIUS)
    left = torch.rand(count, generator=random) < 0.5
    offset = torch.rand(count, generator=random) * (width / 2 - 2 * RADIUS) + RADIUS
    columns = torch.where(left, offset, width - 1 - offset)
    y, x = torch.arange(height)[None, :, None], torch.arange(width)[None, None, :]
    squared = (y - rows[:, None, None]) ** 2 + (x - columns[:, None, None]) ** 2
    disc = amplitude * torch.exp(-squared / (2 * (RADIUS / 2) ** 2))
    return (images + disc[:, None]).clamp(-1, 1), torch.stack([rows, columns], dim=1)


def hits(maps: Tensor, centres: Tensor) -> NDArray[np.float64]:
    """Return 1.0 where a map's maximum lies within RADIUS of the planted centre, else 0.0, (N,)."""
    width = maps.shape[2]
    top = maps.flatten(1).argmax(dim=1)
    place = torch.stack([top // width, top % width], dim=1).float()
    inside: NDArray[np.float64] = ((place - centres).norm(dim=1) <= RADIUS).double().numpy()
    return inside


def audit(
    network: Network, mapper: Mapper, score: Scorer, found: Tensor, clear: Tensor, reference: Tensor
) -> dict[str, Any]:
    """Run the five tests and return their figures, which passed, and `passed` for all.

    `found` are normalised images decided positive, `clear` images without the finding, `reference` their mean image.
    """
    side = found.shape[2]
    maps = {
        "model": mapper(network, found),
        "random": random_map(len(found), side, 1),
        "centre": centre_map(len(found), side),
    }
    report: dict[str, Any] = {"images": len(found), "cascade": cascade(network, mapper, found)}
    deletion = {name: area(score, found, m, reference, keep=False) for name, m in maps.items()}
    insertion = {name: area(score, found, m, reference, keep=True) for name, m in maps.items()}
    for other in ("random", "centre"):
        report[f"deletion_vs_{other}"] = paired(deletion[other], deletion["model"])
        report[f"insertion_vs_{other}"] = paired(insertion["model"], insertion[other])
    report["pointing"] = _pointing(network, mapper, score, clear)
    report["dose"] = _dose(score, found, maps["model"], reference)
    report["tests"] = _verdicts(report)
    report["passed"] = all(report["tests"].values())
    return report


def _pointing(network: Network, mapper: Mapper, score: Scorer, clear: Tensor) -> dict[str, Any]:
    """Return hit rates on the planted images that moved the log odds by 1 or more."""
    planted, centres = plant(clear.repeat(4, 1, 1, 1))
    seen = torch.from_numpy(score(planted) - score(clear.repeat(4, 1, 1, 1)) >= 1.0)
    planted, centres = planted[seen], centres[seen]
    count, side = len(planted), clear.shape[2]
    if count < 20:
        return {"planted": len(seen), "seen": count}
    rows = {
        "model": hits(mapper(network, planted), centres),
        "random": hits(random_map(count, side, 2), centres),
        "centre": hits(centre_map(count, side), centres),
    }
    rates = {name: round(float(row.mean()), 3) for name, row in rows.items()}
    gains = {f"vs_{other}": paired(rows["model"], rows[other]) for other in ("random", "centre")}
    return {"planted": len(seen), "seen": count, "hit_rate": rates, **gains}


def _dose(score: Scorer, found: Tensor, maps: Tensor, reference: Tensor) -> dict[str, Any]:
    """Return how far the log odds fall when the marked 5 to 40 % are hidden, beside random regions of that size."""
    base = score(found)
    noise = [random_map(len(found), found.shape[2], seed) for seed in range(3, 6)]
    curve: list[dict[str, float]] = []
    for share in (0.05, 0.1, DOSE, 0.3, 0.4):
        marked = base - score(hidden(found, maps, share, reference))
        chance = np.mean([base - score(hidden(found, m, share, reference)) for m in noise], axis=0)
        moved = {"marked": round(float(marked.mean()), 3), "random": round(float(chance.mean()), 3)}
        curve.append({"share": share, **moved})
        if share == DOSE:
            gain = paired(marked, chance)
    return {"curve": curve, "gain_at_fifth": gain}


def _verdicts(report: dict[str, Any]) -> dict[str, bool]:
    """Return test name -> passed, by the bars of the module's docstring."""
    others = ("random", "centre")
    return {
        "cascade": abs([*report["cascade"].values()][-1]) <= CASCADE_BAR,
        "deletion": all(report[f"deletion_vs_{other}"]["low"] > 0 for other in others),
        "insertion": all(report[f"insertion_vs_{other}"]["low"] > 0 for other in others),
        "pointing": all(report["pointing"].get(f"vs_{other}", {"low": 0})["low"] > 0 for other in others),
        "dose": report["dose"]["gain_at_fifth"]["low"] > 0,
    }
