"""`medjobs data fetch`: public data sets, taken only when their checksum is the published one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import click

from medjobs.failing import Trouble


class Source(NamedTuple):
    """A published file. MD5 is all that its publisher gives; it guards against damage, not against an attacker."""

    url: str
    md5: str
    licence: str


SOURCES = {
    "pneumoniamnist": Source(
        "https://zenodo.org/records/10519652/files/pneumoniamnist.npz?download=1",
        "28209eda62fecd6e6a2d98b1501bb15f",
        "CC BY 4.0; MedMNIST v2 (Yang et al., Scientific Data 2023) from Kermany et al. 2018",
    ),
    "breastmnist": Source(
        "https://zenodo.org/records/10519652/files/breastmnist.npz?download=1",
        "750601b1f35ba3300ea97c75c52ff8f6",
        "CC BY 4.0; MedMNIST v2 (Yang et al., Scientific Data 2023) from Al-Dhabyani et al. 2020",
    ),
}
"""URL and MD5 as MedMNIST publishes them in medmnist/info.py."""


@click.command()
@click.argument("name", type=click.Choice(list(SOURCES)))
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), help="Folder.  [default: MEDJOBS_HOME/data]")
def fetch(name: str, to: Path | None) -> None:
    """Download the data set NAME unless it is there already; keep it only if its checksum is the published one."""
    from medjobs.client import home

    source, path = SOURCES[name], (to or home() / "data") / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and _md5(path) == source.md5:
        click.echo(f"{path} is there already.")
        return
    fresh = path.with_name(path.name + ".part")
    try:
        download(source.url, fresh)
        if (found := _md5(fresh)) != source.md5:
            remedy = "Try again; if it stays so, the publisher has changed the file: compare with medmnist.com."
            raise Trouble(f"What came from {source.url} has the MD5 {found}, not {source.md5}.", remedy)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    click.echo(f"{path}\nLicence: {source.licence}")


def download(url: str, path: Path) -> None:
    """Stream `url` into `path` with a progress bar; raises `Trouble` where it cannot be reached."""
    import httpx

    from medjobs.screen import bar

    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=30) as answer:
            answer.raise_for_status()
            total = float(answer.headers.get("Content-Length", 0))
            with path.open("wb") as file, bar(f"Fetching {path.stem}", total) as advance:
                for chunk in answer.iter_bytes(1 << 16):
                    file.write(chunk)
                    advance(len(chunk))
    except httpx.HTTPError as error:
        host = httpx.URL(url).host
        remedy = f"Download {url} on a machine with the internet and put it at {path.with_suffix('')}."
        raise Trouble(f"{host} could not be reached ({type(error).__name__}).", remedy) from error


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
