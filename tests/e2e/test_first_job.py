"""The first job, as the README gives it, on the shipped model: and that nothing of a patient shows up on the way."""

from __future__ import annotations

import io
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pydicom
import pytest
import redis
from PIL import Image

from tests.services.home import Home

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples/data").glob("*.dcm"))
MARKER = "Zyxwvutsr"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    started = Home(tmp_path_factory.mktemp("u"))
    yield started
    started.stop()


def marked(example: Path) -> bytes:
    """An example whose name, id, description and a private element carry the marker."""
    dataset = pydicom.dcmread(example)
    dataset.PatientName = f"{MARKER}^Ä"
    dataset.PatientID = dataset.SeriesDescription = dataset.AccessionNumber = MARKER
    dataset.private_block(0x0011, "MEDJOBS", create=True).add_new(0x01, "LO", MARKER)
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue()


def test_the_curl_line_of_the_readme_gives_a_finding_with_its_evidence(home: Home) -> None:
    # Given the README's curl line, with only the port replaced
    block = next(b for b in re.findall(r"```\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL) if "curl" in b)
    line = block[block.index("curl") :].replace("http://localhost:8000", home.url)
    # When it is typed
    said = subprocess.run(["bash", "-c", line], cwd=ROOT, env=home.environment, capture_output=True, text=True)
    # Then the job is accepted, ends, and the result is what http-api.md describes
    job = json.loads(said.stdout)
    with home.client() as client:
        result = client.get(f"/v1/jobs/{client.job(job['id']).wait(60).id}/result")
        (item,) = result["items"]
        (finding,) = item["findings"]
        assert finding["label"] == "pneumonia"
        assert finding["decision"] == ("positive" if finding["probability"] >= finding["threshold"] else "negative")
        named = {artifact["name"]: artifact for artifact in result["artifacts"]}
        pictures = [client.content(a["href"]) for a in named.values() if a["media_type"] == "image/png"]
        assert len(pictures) == 2
        assert all(picture.startswith(b"\x89PNG") for picture in pictures)
        report = client.content(named["report.html"]["href"]).decode()
    assert "Research use only, not a medical device" in report


def test_of_200_files_with_10_broken_ones_190_have_a_result_and_10_an_error_in_order(home: Home) -> None:
    # Given 200 files, every twentieth cut short
    broken = set(range(7, 200, 20))
    with home.client() as client:
        ids = []
        for position in range(200):
            content = EXAMPLES[position % len(EXAMPLES)].read_bytes()
            ids.append(client.upload(content[: 300 + position] if position in broken else content))
        # When they are submitted as one job
        job = client.submit("diagnosis", *ids, params={"explain": False}).wait(120)
        # Then each has its place
        assert job.state == "succeeded"
        result = client.get(f"/v1/jobs/{job.id}/result")
    items = result["items"]
    assert len(items) == 200
    assert {position for position, item in enumerate(items) if "error" in item} == broken
    assert all(items[position]["error"]["code"] for position in broken)
    assert all(items[position]["findings"] for position in set(range(200)) - broken)
    assert len(result["warnings"]) >= 1


def test_a_name_in_the_headers_shows_up_nowhere(home: Home) -> None:
    # Given somebody who listens to all that Redis is told
    connection = redis.Redis(unix_socket_path=str(home.medjobs / "redis.sock"))
    heard: list[str] = []
    stop = threading.Event()

    def listen() -> None:
        with connection.monitor() as monitor:
            while not stop.is_set():
                heard.append(str(monitor.next_command()))

    threading.Thread(target=listen, daemon=True).start()
    time.sleep(0.3)
    # When marked files, whole and broken, with a marked file name and label, go through
    content = marked(EXAMPLES[0])
    answers: list[str] = []
    with httpx.Client(base_url=home.url, headers={"Authorization": f"Bearer {home.token}"}, timeout=60) as http:
        for body in (content, content[:700], content.replace(b"CR", b"XX", 1), MARKER.encode()):
            sent = http.post(
                "/v1/jobs?wait=30",
                data={"kind": "diagnosis", "labels": json.dumps({"who": MARKER})},
                files={"file": (f"{MARKER}.dcm", body)},
            )
            assert sent.status_code == 202, sent.text
            job = http.get(f"/v1/jobs/{sent.json()['id']}?wait=30").json()
            answers.append(json.dumps(job["error"]) + http.get(f"/v1/jobs/{job['id']}/result").text)
            answers.append(http.get(f"/v1/jobs/{job['id']}/events").text)
        answers.append(http.post("/v1/jobs", json={"kind": MARKER, "labels": {MARKER: 1}, MARKER: MARKER}).text)
        answers.append(http.get("/metrics").text)
    stop.set()
    connection.set("wake", "the listener")
    connection.close()
    # Then neither Redis, nor Flower's, nor the API's answers, nor a log file has heard the name
    flower_url = home.screen.read_text().splitlines()[2].split()[1]
    secret = (home.medjobs / "flower.password").read_text().strip()
    flower = httpx.get(f"{flower_url}/api/tasks?limit=100", auth=("medjobs", secret)).text
    assert job["id"] in flower
    logs = "".join(path.read_text(errors="replace") for path in (home.medjobs / "logs").iterdir())
    stored = "".join(repr(key) + repr(connection.dump(key)) for key in connection.keys("*"))
    assert len(heard) > 10
    for place in ("".join(heard), stored, "".join(answers), flower, logs):
        assert MARKER.lower() not in place.lower()


def test_a_real_chest_radiograph_of_another_sort_is_answered(home: Home, test_data: Path) -> None:
    # Given a real CR of an adult, 1955 x 1841, MONOCHROME1, JPEG 2000
    with home.client() as client:
        job = client.submit("diagnosis", test_data / "dicom/pydicom-data/RG1_J2KI.dcm").wait(120)
        # When it has run, then it has a finding, and its picture the size of the original
        result = client.get(f"/v1/jobs/{job.id}/result")
        assert result["items"][0]["findings"][0]["label"] == "pneumonia"
        hrefs = [a["href"] for a in result["artifacts"] if a["name"] == "image-0.png"]
        assert hrefs
        shown = Image.open(io.BytesIO(client.content(hrefs[0])))
    assert shown.size == (1841, 1955)
