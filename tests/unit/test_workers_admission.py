"""Room on a GPU, as nvidia-smi tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers import admission

LINES = """\
0, GPU-1f2e3d4c-0000-1111-2222-333344445555, 142987
1, GPU-aaaaaaaa-0000-1111-2222-333344445555, 1843
2, GPU-bbbbbbbb-0000-1111-2222-333344445555, [N/A]
Unable to determine the device handle for GPU 0000:03:00.0: Unknown Error
"""
"""The form of `nvidia-smi --query-gpu=index,uuid,memory.free --format=csv,noheader,nounits` for three GPUs."""


@pytest.mark.parametrize(
    ("visible", "mebibytes"),
    [(["0"], 142987), (["1"], 1843), (["0", "1"], 1843), (["GPU-1f2e3d4c"], 142987), (["2"], None), (["7"], None)],
)
def test_the_fullest_gpu_that_a_process_sees_decides(visible: list[str], mebibytes: int | None) -> None:
    assert admission.parse(LINES, visible) == (None if mebibytes is None else mebibytes * 1024 * 1024)


def test_the_driver_is_asked_for_the_visible_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a nvidia-smi on the path that answers for three GPUs, when two are visible, then the fuller one counts."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{LINES}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert admission.free_bytes() == 1843 * 1024 * 1024


@pytest.mark.parametrize("script", ["exit 9", "sleep 0; echo 'no devices' >&2; exit 6", None])
def test_without_a_driver_that_answers_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    if script is not None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert admission.free_bytes() is None


def test_a_worker_of_the_processor_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho '0, GPU-1, 5'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert admission.free_bytes() is None
