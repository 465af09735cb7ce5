"""`medjobs models add`: weights of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from medjobs.commands.listing import as_json_option

WEIGHTS, EXPORTED, CASES = "weights.safetensors", "model.pt2", "cases.npz"
"""What the files of an own model are called in the registry."""

a_file = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)


@click.command()
@click.argument("name")
@click.option("--kind", required=True, help="Kind that it serves, such as diagnosis.")
@click.option("--weights", type=a_file, help="Weights as safetensors; needs --network.")
@click.option(
    "--network", metavar="PACKAGE.MODULE:NAME", help="Function that builds the network, installed on workers."
)
@click.option("--export", "exported", type=a_file, help="A torch.export program (.pt2), instead of both.")
@click.option("--contract", required=True, type=a_file, help="JSON: what it takes (`medjobs models add --help`).")
@click.option("--card", type=a_file, help="JSON: who should use it for what, on which data it was made.")
@click.option("--cases", type=a_file, help="cases.npz of its test part, so that it can be compared.")
@as_json_option
def add(name: str, kind: str, contract: Path, card: Path | None, raw: bool, **given: Any) -> None:
    """Register weights of your own as the next version of the model NAME (admin).

    The schema of the contract stands under `contract` at GET /v1/kinds/KIND. Building a network and running an exported
    program run code on the workers: only an administrator may add them, and nothing is ever unpickled.
    """
    from medjobs import reference, screen
    from medjobs.client import Client
    from medjobs.failing import USAGE, Trouble

    weights, network, exported = given["weights"], given["network"], given["exported"]
    if (exported is None) == (weights is None and network is None) or (weights is None) != (network is None):
        raise Trouble("An own model is weights with their network, or an exported program.",
                      "Give --weights and --network, or --export.", USAGE)  # fmt: skip
    files = {WEIGHTS: weights, EXPORTED: exported, CASES: given["cases"]}
    with Client() as client:
        made = client.models.add(
            name,
            kind,
            {entry: path for entry, path in files.items() if path is not None},
            contract=reference.json_object(contract.read_text(), "--contract"),
            network=network,
            card=None if card is None else reference.json_object(card.read_text(), "--card"),
        )
    if raw:
        screen.as_json(made)
    else:
        version = f"{made['name']}@{made['version']}"
        first = f"medjobs submit FILE --kind {kind} --model {version} --wait"
        screen.lines([("Added", version), ("Try", first), ("Use", f"medjobs models promote {version}")])
