"""Documents cannot lie: what they name exists, and what they tabulate is what the code says."""

from __future__ import annotations

import importlib
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from jobs.states import TRANSITIONS, Outcome, State
from tests.docs.generate import ROOT, TABLES, between

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("file", TABLES)
def test_a_generated_table_is_what_the_code_says(file: str) -> None:
    name, table = TABLES[file]
    found = between(name).search((ROOT / file).read_text())
    assert found is not None, f"{file} has no markers for {name}"
    assert found.group() == table(), "run: .venv/bin/python -m tests.docs.generate"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", document.read_text()):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_diagram_of_states_is_the_transition_table() -> None:
    drawn: dict[State, set[State]] = {state: set() for state in State}
    for start, end in re.findall(r"^\s+(\w+) --> (\w+)", (ROOT / "docs/states.md").read_text(), re.MULTILINE):
        drawn[State(start)].add(State(end))
    assert drawn == {state: set(following) for state, following in TRANSITIONS.items()}


def test_every_outcome_of_an_attempt_is_explained() -> None:
    text = (ROOT / "docs/states.md").read_text()
    assert [outcome for outcome in Outcome if f"`{outcome}`" not in text] == []


def test_the_life_of_a_job_names_functions_that_exist() -> None:
    text = (ROOT / "docs/life-of-a-job.md").read_text()
    named = re.findall(r"`([a-z_/]+)\.py:([A-Za-z_.]+)`", text)
    assert len(named) >= 10
    for path, attribute in named:
        found = importlib.import_module(path.replace("/", "."))
        for part in attribute.split("."):
            assert hasattr(found, part), f"{path}.py has no {attribute}"
            found = getattr(found, part)


def test_every_make_target_named_in_a_document_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", document.read_text(), re.MULTILINE))
        assert named <= targets, f"{document.name} names {named - targets}"


def test_every_medjobs_command_named_in_a_document_exists() -> None:
    from medjobs.main import main

    known = set(main.commands)
    for document in DOCUMENTS:
        for named in re.findall(r"(?:^|`|\$ )medjobs ([a-z]+)", document.read_text(), re.MULTILINE):
            assert named in known, f"{document.name} names `medjobs {named}`"


def test_the_changelog_has_the_version_that_is_built() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_make_help_lists_every_target() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE):
        assert f"make {target}" in shown
