"""Documents cannot lie: what they name exists, and what they tabulate is what the code says."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from jobs.settings import Settings, variable
from jobs.states import TRANSITIONS, Outcome, State
from medjobs.reference import values
from models.data.options import OPTIONS
from models.registry import kinds
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


def typed_commands(text: str) -> list[list[str]]:
    """The words after `medjobs` of every command in a fenced block (its continued lines joined) or in backticks."""
    blocks = [body for kind, body in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL) if not kind]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found = [re.match(r"\s*(?:\$ )?(?:\.venv/bin/)?medjobs (.+)", line) for line in lines]
    found += [re.match(r"(?:\.venv/bin/)?medjobs (.+)", code, re.DOTALL) for code in re.findall(r"`([^`]+)`", prose)]
    return [shlex.split(one.group(1), comments=True) for one in found if one is not None]


def check_command(words: list[str], whole: bool) -> None:
    """Raise where `medjobs` has no such command, subcommand or option, or, if `whole`, where something is missing."""
    from medjobs.main import main

    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group):
        if not words or words[0].startswith("-"):
            break
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name}"
        command, context = found, click.Context(found, parent=context)
    given, _, _ = command.make_parser(context).parse_args(words)
    for parameter in command.params:
        empty = given.get(parameter.name or "") in (None, (), [])
        assert not (whole and parameter.required and empty), f"{parameter.name} is missing"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_medjobs_command_in_a_document_can_be_typed(document: Path) -> None:
    for words in typed_commands(document.read_text()):
        try:
            check_command(words, whole=len(words) > 2)
        except (AssertionError, click.UsageError) as error:
            raise AssertionError(f"{document.name}: medjobs {shlex.join(words)}: {error}") from error


def options_of(words: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The arguments, and the values of every option, of a command whose options all take one."""
    arguments: list[str] = []
    options: dict[str, list[str]] = {}
    rest = iter(words)
    for word in rest:
        if word in ("--watch", "--json"):
            continue
        if word.startswith("--"):
            options.setdefault(word, []).append(next(rest))
        else:
            arguments.append(word)
    return arguments, options


EVERY_COMMAND = [(document.name, words) for document in DOCUMENTS for words in typed_commands(document.read_text())]


def test_the_options_of_data_sets_in_the_documents_are_those_of_their_formats() -> None:
    added = [options_of(words[2:])[1] for _, words in EVERY_COMMAND if words[:2] == ["data", "add"] and len(words) > 2]
    for options in added:
        (form,) = options["--format"]
        if form != "FORMAT":
            OPTIONS[form].model_validate(values(options.get("--option", ()), "--option"))
    assert {form for options in added for form in options["--format"]} >= set(OPTIONS) - {"molecules"}


def test_the_recipes_and_settings_of_trainings_in_the_documents_exist() -> None:
    trainings = [options_of(words[1:]) for _, words in EVERY_COMMAND if words[0] == "train" and len(words) > 1]
    for (kind, *_), options in trainings:
        if kind != "KIND":
            recipes = kinds()[kind].recipes
            assert set(options.get("--recipe", ())) <= set(recipes)
            recipe = recipes[options.get("--recipe", [next(iter(recipes))])[0]] if recipes else None
            assert recipe is None or recipe.model_validate(values(options.get("--set", ()), "--set"))


def test_a_command_that_cannot_be_typed_is_found() -> None:
    text = "```\nmedjobs data add x --form y z  # no\nmedjobs up \\\n  --port 0\n```\nUse `medjobs submit FILE`."
    add, up, submit = typed_commands(text)
    assert up == ["up", "--port", "0"]
    assert submit == ["submit", "FILE"]
    check_command(up, whole=True)
    for wrong in (["data", "nothing"], ["data", "add", "x", "--form", "y", "z", "--nothing"], ["nothing"]):
        with pytest.raises((AssertionError, click.UsageError)):
            check_command(wrong, whole=True)
    with pytest.raises(AssertionError, match="form is missing"):
        check_command(["data", "add", "x", "z"], whole=True)
    assert add[:3] == ["data", "add", "x"]
    assert len(typed_commands((ROOT / "docs/training.md").read_text())) > 15


def test_the_changelog_has_the_version_that_is_built() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_make_help_lists_every_target() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE):
        assert f"make {target}" in shown


def limits() -> list[tuple[str, str]]:
    """Limit and value of each row of the table of timeouts."""
    section = (ROOT / "docs/operations.md").read_text().split("## Timeouts and retries")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in section.splitlines() if row.startswith("| ")]
    return [(limit, value) for _, limit, value, _ in rows[1:]]


def test_every_time_that_is_a_setting_stands_among_the_timeouts_with_its_default() -> None:
    told = {limit.strip("`"): value.split(" ")[0] for limit, value in limits() if "`MEDJOBS_" in limit}
    fields = Settings.model_fields
    assert told == {name: str(fields[name.removeprefix("MEDJOBS_").lower()].default) for name in told}
    times = {variable(name) for name in fields if name.endswith("_s")} | {"MEDJOBS_MAX_ATTEMPTS", "MEDJOBS_MAX_CRASHES"}
    assert times - set(told) == {"MEDJOBS_BLOB_GRACE_S"}  # that one is how long bytes are kept


def test_every_constant_among_the_timeouts_has_the_value_that_the_table_says() -> None:
    found = 0
    for limit, value in limits():
        for path, name in re.findall(r"`([a-z_/]+)\.py:([A-Z_]+)`", limit):
            constant = getattr(importlib.import_module(path.replace("/", ".")), name)
            numbers = list(constant) if isinstance(constant, tuple) else [constant]
            said = [float(number) for number in re.findall(r"[\d.]+", value)]
            assert said == ([numbers[0], numbers[-1]] if len(numbers) > 1 else numbers), f"{limit}: {value}"
            found += 1
    assert found >= 15


def test_every_alert_links_to_a_runbook_that_exists() -> None:
    text = (ROOT / "deploy/prometheus/alerts.yml").read_text()
    links = dict(zip(re.findall(r"- alert: (\w+)", text), re.findall(r"runbook_url: (\S+)", text), strict=True))
    headings = re.findall(r"^### (\w+)$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    anchors = {heading.lower() for heading in headings}
    assert len(links) >= 15
    for alert, link in links.items():
        page, _, anchor = link.partition("#")
        assert page.endswith("/docs/operations.md"), link
        assert anchor == alert.lower()
        assert anchor in anchors, f"{alert} has no runbook"
    assert {heading for heading in headings if heading.startswith("Medjobs")} == set(links)
