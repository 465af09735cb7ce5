"""The compose files: valid by the specification's schema, and each container shut in as far as it can be."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from deploy.check.composed import read
from jobs.settings import Settings
from medjobs.main import main
from tests.docs.generate import ROOT
from workers.supervisor import STOP_S

GIVEN = {
    "MEDJOBS_DATABASE_URL": "postgresql+psycopg://medjobs@db/medjobs",
    "MEDJOBS_REDIS_URL": "redis://redis:6379/0",
    "MEDJOBS_STORAGE_URL": "s3://medjobs/files",
    "SHARE_ADDRESS": "10.0.0.5",
}
"""The variables that compose.*.yml ask for."""

COMPLETE = ("docker-compose.yml", "compose.gpu.yml", "compose.host.yml")
FILES = (*COMPLETE, "compose.share.yml", "deploy/worker.yml")
SERVICES = [(file, name, raw) for file in COMPLETE for name, raw in read(ROOT / file, GIVEN)["services"].items()]
NAMED = [f"{file}:{name}" for file, name, _ in SERVICES]
WHOLE = read(ROOT / "docker-compose.yml", {})
OURS = ("medjobs:local", "medjobs:gpu")

each_service = pytest.mark.parametrize(("file", "name", "raw"), SERVICES, ids=NAMED)


def judged(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    return subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)


def parse(words: list[str]) -> None:
    """Raise where `medjobs` has no such command, or does not take its options and arguments."""
    command: click.Command | None = main
    while isinstance(command, click.Group):
        name, *words = words
        command = command.get_command(click.Context(command), name)
    assert command is not None, words
    command.make_context(command.name, words)


def test_the_compose_files_fit_the_compose_specification(tmp_path: Path) -> None:
    assert judged(*(ROOT / file for file in FILES)).stdout.strip() == "ok -- validation done"
    broken = tmp_path / "docker-compose.yml"
    broken.write_text((ROOT / "docker-compose.yml").read_text().replace("healthcheck:", "healthchek:"))
    assert "healthchek" in judged(broken).stdout


@pytest.mark.parametrize("profile", ["", "*"])
def test_docker_itself_takes_them(profile: str) -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed; the schema alone judges the files")
    command = ["docker", "compose", "--profile", profile, "-f", str(ROOT / "docker-compose.yml"), "config", "--quiet"]
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("docker has no compose")
    subprocess.run(command, check=True)


@each_service
def test_a_container_can_write_only_where_it_must_and_gains_no_rights(file: str, name: str, raw: Any) -> None:
    assert raw["read_only"] is True
    assert raw["cap_drop"] == ["ALL"]
    assert raw["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "network_mode", "devices"} & set(raw)
    assert any(one.startswith("/tmp:") and "size=" in one for one in raw["tmpfs"])
    assert not [one for one in raw.get("volumes", ()) if one.startswith(".") and not one.endswith(":ro")]
    assert not [one for one in raw.get("volumes", ()) if "docker.sock" in one]


@each_service
def test_a_container_runs_as_a_user_of_its_own(file: str, name: str, raw: Any) -> None:
    if name != "minio":  # root without a capability: its image knows no other user that owns a new volume
        assert not raw["user"].startswith(("0", "root"))
    if raw["image"] in OURS:
        (made,) = re.findall(r"useradd --uid (\d+)", (ROOT / "Dockerfile").read_text())
        assert raw["user"] == f"{made}:{made}"


@each_service
def test_a_container_has_limits_and_its_log_ends(file: str, name: str, raw: Any) -> None:
    limits = raw["deploy"]["resources"]["limits"]
    # No host has less than two cores, and a limit above those that there are is refused. Workers take what is idle.
    if raw.get("command", [""])[0] == "worker":
        assert limits["cpus"] == "0"
        assert file != "docker-compose.yml" or raw["cpu_shares"] < 1024
    else:
        assert 0 < float(limits["cpus"]) <= 2
    assert re.fullmatch(r"\d+[mg]", limits["memory"])
    assert limits["pids"] > 0
    assert set(raw["logging"]["options"]) == {"max-size", "max-file"}


@each_service
def test_a_container_has_a_healthcheck_or_ends_by_itself(file: str, name: str, raw: Any) -> None:
    if raw["restart"] == "no":
        waiting = [one for one in WHOLE["services"].values() if name in one.get("depends_on", {})]
        assert {one["depends_on"][name]["condition"] for one in waiting} == {"service_completed_successfully"}
    else:
        assert raw["restart"] == "unless-stopped"
        assert raw["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
        assert {"interval", "timeout", "retries"} <= set(raw["healthcheck"])


@each_service
def test_the_commands_and_healthchecks_of_ours_can_be_typed(file: str, name: str, raw: Any) -> None:
    typed = []
    if raw["image"] in OURS and "entrypoint" not in raw:
        typed.append(raw["command"])
    test = raw.get("healthcheck", {}).get("test", ["CMD", ""])
    if test[1] == "medjobs":
        typed.append(test[2:])
    assert typed or raw["image"] not in OURS
    for words in typed:
        parse(list(words))


@each_service
def test_a_worker_has_time_to_drain(file: str, name: str, raw: Any) -> None:
    if raw.get("command", [""])[0] == "worker":
        assert float(raw["stop_grace_period"].removesuffix("s")) > Settings().drain_s + STOP_S


@each_service
def test_images_and_their_versions_are_named(file: str, name: str, raw: Any) -> None:
    _, _, tag = raw["image"].partition(":")
    assert raw["image"] in OURS or re.search(r"\d+\.\d+|\d+-|\d{4}-", tag)


@pytest.mark.parametrize("file", COMPLETE)
def test_an_image_is_built_once(file: str) -> None:
    """Two services that build the same tag build it side by side, and the second finds that it is there already."""
    built = [(raw["image"], "build" in raw) for of, _, raw in SERVICES if of == file and raw["image"] in OURS]
    assert sorted(image for image, builds in built if builds) == sorted({image for image, _ in built})


def test_gpus_can_be_divided_between_inference_and_training() -> None:
    given = {**GIVEN, "GPU_DEVICES": "0", "GPU_LONG_DEVICES": "1,2"}
    for file in ("docker-compose.yml", "compose.gpu.yml"):
        found = read(ROOT / file, given)["services"]
        asked = {name: raw["command"][-1] for name, raw in found.items() if name.startswith("worker-gpu")}
        assert asked == {"worker-gpu": "0", "worker-gpu-long": "1,2"}


def test_no_secret_stands_in_an_environment() -> None:
    for name, raw in WHOLE["services"].items():
        for key, value in raw.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|AUTH_|BASIC|CREDENTIALS|DATABASE_URL|REDIS_URL", key):
                assert key.endswith("_FILE") or value == "false", f"{name}: {key}"
            assert "@" not in str(value), f"{name}: {key}"
        used = re.findall(r"/run/secrets/(\w+)", json.dumps({**raw, "secrets": None}))
        assert set(used) == set(raw.get("secrets", ())), name


def test_nothing_listens_beyond_this_host_unless_an_address_is_given() -> None:
    for _, name, raw in SERVICES:
        assert all(port.startswith("127.0.0.1:") for port in raw.get("ports", ())), name
    assert not {"postgres", "redis", "minio"} & {name for name, raw in WHOLE["services"].items() if "ports" in raw}
    assert WHOLE["networks"]["inner"] == {"internal": "true"}
    with pytest.raises(KeyError, match="SHARE_ADDRESS"):
        read(ROOT / "compose.share.yml", {})


@pytest.mark.parametrize("missing", ["MEDJOBS_DATABASE_URL", "MEDJOBS_REDIS_URL", "MEDJOBS_STORAGE_URL"])
@pytest.mark.parametrize("file", ["compose.gpu.yml", "compose.host.yml"])
def test_a_further_host_needs_three_variables_and_no_more(file: str, missing: str) -> None:
    three = {name: value for name, value in GIVEN.items() if name.startswith("MEDJOBS_")}
    assert len(three) == 3
    for raw in read(ROOT / file, three)["services"].values():
        assert {name: raw["environment"][name] for name in three} == three
    with pytest.raises(KeyError, match=missing):
        read(ROOT / file, {name: value for name, value in three.items() if name != missing})


def test_secrets_are_made_once_are_readable_in_their_folder_alone_and_are_ignored_by_git(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    script = ["sh", str(ROOT / "deploy/secrets.sh"), str(folder)]
    subprocess.run(script, check=True, capture_output=True)
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert {f"./secrets/{name}" for name in made} == {one["file"] for one in WHOLE["secrets"].values()}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}
    assert len(set(made.values())) == len(made)
    assert all(len(made[name]) == 48 for name in ("postgres", "redis", "flower", "grafana", "minio"))
    assert made["database_url"] == f"postgresql+psycopg://medjobs:{made['postgres']}@postgres/medjobs"
    (folder / "flower").unlink()
    subprocess.run(script, check=True, capture_output=True)
    again = {path.name: path.read_text() for path in folder.iterdir()}
    assert again.pop("flower") != made.pop("flower")
    assert again == made
    for name in WHOLE["secrets"].values():
        assert subprocess.run(["git", "check-ignore", "-q", name["file"]], cwd=ROOT, check=False).returncode == 0


def test_the_image_gets_what_the_wheel_is_built_from_and_the_pinned_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    let_in = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert let_in == {*wheel["packages"], *wheel["force-include"], "pyproject.toml", "README.md", "LICENSE"}
    pinned = [one for one in project["project"]["dependencies"] if one.startswith("torch==")]
    assert re.findall(r"torch==[\d.]+", (ROOT / "Dockerfile").read_text()) == pinned


def test_prometheus_asks_every_service_that_offers_metrics() -> None:
    from ruamel.yaml import YAML

    jobs = YAML(typ="safe").load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    asked = {(name, sd["port"]) for job in jobs for sd in job.get("dns_sd_configs", ()) for name in sd["names"]}
    offering = {
        (name, int(raw["environment"]["MEDJOBS_METRICS_BIND"].rpartition(":")[2]))
        for name, raw in WHOLE["services"].items()
        if "MEDJOBS_METRICS_BIND" in raw.get("environment", {})
    }
    assert asked == offering | {("api", 8000)}


def test_prometheus_takes_its_configuration() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    file = ROOT / "deploy/prometheus/prometheus.yml"
    subprocess.run(["promtool", "check", "config", "--syntax-only", str(file)], check=True, capture_output=True)
