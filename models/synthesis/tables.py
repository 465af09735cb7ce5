"""A generator's figures as rows of words: what its card and the reports of its jobs print. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Row = tuple[str, ...]

QUALITY_HEAD = ("", "drawn", "real (floor)", "simple baseline")
USE_HEAD = ("", "AUC", "95 % interval")
PRIVACY_HEAD = ("attack", "AUC", "found at 1 % false alarms", "memoriser: AUC", "memoriser: found")


def quality(manifest: Mapping[str, Any]) -> Iterator[Row]:
    """Each figure beside that of as many real images, and the simple baseline's."""
    good, plain = manifest.get("quality"), (manifest.get("baseline") or {}).get("mean") or {}
    if good is None:
        return
    own, floor = good["generated"], good["floor"]
    yield "coverage (1 is best)", *_two(own, floor, "coverage", "coverage"), number(plain.get("coverage"))
    yield "density (about 1)", *_two(own, floor, "coverage", "density"), number(plain.get("density"))
    yield distance(manifest), *_two(own, floor, "kid", "value"), number(plain.get("kid"))
    if "radiomic" in own:  # of images; patients have none
        radiomic = (number(own["radiomic"]), number(floor["radiomic"]), number(plain.get("radiomic_distance")))
        yield "Frechet distance of radiomic features", *radiomic
    for label, name in enumerate(manifest["classes"]):
        mine, real = (one.get("classes", {}).get(str(label)) for one in (own, floor))
        if mine is not None and real is not None:
            yield f"coverage within {name}", number(mine["coverage"]), number(real["coverage"]), ""


def usefulness(manifest: Mapping[str, Any]) -> Iterator[Row]:
    """Trained on drawn images, on real ones, and the difference."""
    useful = manifest.get("usefulness")
    if useful is None:
        return
    drawn = draws(manifest)
    words = {
        "tstr": f"trained on drawn {drawn} (TSTR)",
        "trtr": f"trained on real {drawn} (TRTR)",
        "drop": "difference",
    }
    for key, said in words.items():
        one = useful[key]
        yield said, number(one["value"]), f"{number(one['low'])} to {number(one['high'])}"
    baseline = manifest.get("baseline") or {}
    if (plain := baseline.get("usefulness")) is not None:
        for key, said in (("tstr", f"trained on those of {baseline['name']} (TSTR)"), ("drop", "difference")):
            one = plain[key]
            yield said, number(one["value"]), f"{number(one['low'])} to {number(one['high'])}"


def privacy(manifest: Mapping[str, Any]) -> Iterator[Row]:
    """Each attack with its interval, beside the same attack on a generator that only repeats its training images."""
    private = manifest.get("privacy")
    if private is None:
        return
    for name, attack in private["attacks"].items():
        control = private["control"].get(name)
        caught = ("", "") if control is None else (spanned(control["auc"]), spanned(control["tpr_at_1_fpr"]))
        yield name, spanned(attack["auc"]), spanned(attack["tpr_at_1_fpr"]), *caught
    baseline = manifest.get("baseline") or {}
    for name, attack in (baseline.get("privacy") or {"attacks": {}})["attacks"].items():
        yield f"{name}, on {baseline['name']}", spanned(attack["auc"]), spanned(attack["tpr_at_1_fpr"]), "", ""


def notes(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What one must know to read the tables."""
    drawn = draws(manifest)
    one = drawn.removesuffix("s")
    good, useful, private = (manifest.get(name) for name in ("quality", "usefulness", "privacy"))
    if good is not None:
        yield (
            f"Coverage, density and the {distance(manifest)} are measured on the features of the "
            f"{good['features']}, {good['generated']['n']} drawn {drawn} against {good['reference']} real ones: they "
            f"compare with nothing that was measured on other features. The floor is what other real {drawn} reach at "
            "the same numbers."
        )
    if useful is not None:
        yield (
            f"TSTR and TRTR: {useful['classifier']}, {len(useful['seeds'])} seeds, trained on {useful['synthetic']} "
            f"drawn or {useful['real']} real {drawn}, tested on {useful['n']} real ones of the {useful['part']} part."
        )
    if private is not None:
        sizes = {attack["n"] for attack in private["attacks"].values()}
        ratio, nearer = private["nearness"]["ratio"], private["nearness"]["nearer"]
        yield (
            f"Attacks on {max(sizes, default=0)} training {drawn} and as many others, with {private['generated']} "
            f"drawn {drawn} in the attacker's hands; chance is an AUC of 0.5. A screen, no proof: the nearest training "
            f"{one} is {ratio:.2f} times as far from a drawn one as the nearest other; of the drawn ones "
            f"{spanned(nearer)} are nearer to a training {one}."
        )


def verdict(manifest: Mapping[str, Any]) -> str:
    """Whether what it draws may leave, in a sentence."""
    drawn = draws(manifest)
    gate = manifest.get("gate") or {}
    if gate.get("passed"):
        return f"The gate is passed: its {drawn} may leave the system, marked as synthetic."
    said = "; ".join(gate.get("failures") or ["nothing was measured"])
    return f"The gate is NOT passed, and no {drawn.removesuffix('s')} may leave the system: {said}."


def draws(manifest: Mapping[str, Any]) -> str:
    """What the generator draws: images or patients."""
    return str(manifest.get("draws", "images"))


def distance(manifest: Mapping[str, Any]) -> str:
    """What the distance by the kernel is called: patients have no network's features."""
    return "kernel inception distance" if draws(manifest) == "images" else "kernel distance"


def number(value: Any) -> str:
    """Three places; a dash for none."""
    return f"{value:.3f}" if isinstance(value, int | float) else "-"


def spanned(one: Mapping[str, Any]) -> str:
    """A figure with its interval."""
    return f"{number(one['value'])} ({number(one['low'])} to {number(one['high'])})"


def _two(own: Mapping[str, Any], floor: Mapping[str, Any], group: str, name: str) -> Row:
    return number(own[group][name]), number(floor[group][name])
