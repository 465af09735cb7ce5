"""A ranking as the command line prints it, and the lines that failed."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from medjobs import client, findings


def item(rank: int, smiles: str, inside: bool = True) -> dict[str, Any]:
    return {
        "rank": rank, "smiles": smiles, "name": f"m{rank}", "input": 0, "line": rank,
        "scores": [{"target": "active", "probability": 0.9, "spread": 0.021}],
        "applicability": {"nearest_tanimoto": 0.31, "in_domain": inside},
        "alerts": {"pains": ["azo_A(324)"], "lipinski_violations": 1}, "salts_stripped": False, "copies": 1,
        "atom_weights": None,
    }  # fmt: skip


def test_a_ranking_is_a_row_a_molecule_and_failed_lines_are_named_by_file_and_line() -> None:
    error = {"code": "not-a-molecule", "detail": "RDKit cannot read it.", "item": 0, "line": 7}
    result = client.Result([item(1, "CCO"), item(2, "C" * 60, False), {"error": error}], [], [], {}, {})
    console = Console(file=io.StringIO(), width=140)
    console.print(findings.drawn(result, ["list.smi"]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    first, second = (line for line in text.splitlines() if line.strip().startswith(("1 ", "2 ")))
    assert all(word in first for word in ("CCO", "m1", "0.900 ± 0.021", "0.31", "PAINS, Lipinski 1"))
    assert "outside" in second
    assert "…" in second
    assert findings.failures(result, ["list.smi"]) == ["list.smi, line 7: not-a-molecule: RDKit cannot read it."]
