"""report.html of a synthesis job: the sheet and the generator's figures. Imports no torch: the API draws it."""

from __future__ import annotations

import base64
from pathlib import Path

from markupsafe import Markup

from jobs.results import DISCLAIMER, Report
from models.page import POLICY, flat, template
from models.synthesis import tables
from models.synthesis.wording import MARK

SHEET = "sheet.png"


def render(report: Report) -> str:
    """Return the page for a finished job."""
    item, manifest = report.result["items"][0], report.manifest or {}
    data = manifest.get("data") or {}
    source = Markup("data:image/png;base64,") + base64.b64encode(report.artifact(SHEET)).decode()
    text: str = template(Path(__file__).parent).render(
        job=report.job,
        result=report.result,
        item=item,
        summary=manifest.get("summary", ""),
        sheet=source,
        mark=MARK,
        draws=tables.draws(manifest),
        verdict=tables.verdict(manifest),
        passed=(manifest.get("gate") or {}).get("passed", False),
        tables=[
            ("Quality", tables.QUALITY_HEAD, list(tables.quality(manifest))),
            ("Usefulness", tables.USE_HEAD, list(tables.usefulness(manifest))),
            ("Privacy", tables.PRIVACY_HEAD, list(tables.privacy(manifest))),
        ],
        notes=list(tables.notes(manifest)),
        health=manifest.get("health") or [],
        data=[(title, data[key]) for key, title in (("source", "Data"), ("license", "Licence")) if data.get(key)],
        provenance=flat(report.result.get("provenance", {})),
        disclaimer=DISCLAIMER,
        policy=POLICY,
    )
    return text
