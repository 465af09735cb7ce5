"""Anyone's own network under a contract: weights for a network that is named, or an exported program.

It has none of what our training adds: no temperature of its own fitting, no sets, no distance, no evidence maps. The
answer says so and claims nothing. Both ways run code that an administrator registered: a named network is imported, and
an exported program is itself one, whose expressions torch evaluates when it reads them.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jobs.errors import ModelUnusable
from jobs.kinds import resolve
from jobs.predicting import ModelVersion
from models.diagnosis.calibration import softmax
from models.diagnosis.contracts import OwnContract
from models.diagnosis.pixels import Grey

WEIGHTS, PROGRAM = "weights.safetensors", "model.pt2"


class OwnNetwork:
    """The network of a version on a device: images (N, rows, columns) uint8 to probabilities (N, classes)."""

    def __init__(self, version: ModelVersion, device: str) -> None:
        """Raises `ModelUnusable`, saying what does not fit."""
        self.contract = OwnContract.model_validate(version.manifest["contract"])
        self.device = device
        self.network = _network(version).to(device)
        if not (version.folder / PROGRAM).exists():
            self.network.eval()
        self._batched = self._takes(2) or not self._takes(1)
        self._check()

    @torch.no_grad()
    def probabilities(self, images: Grey) -> NDArray[np.float64]:
        """Probabilities of the classes, (N, rows, columns) -> (N, classes)."""
        x = self.normalised(images).to(self.device)
        portions = torch.split(x, 256 if self._batched else 1)
        scores = torch.cat([self.network(part).float().cpu() for part in portions]).double().numpy()
        if self.contract.output == "logits":
            return softmax(scores if scores.shape[1] > 1 else np.concatenate([-scores / 2, scores / 2], axis=1))
        found: NDArray[np.float64] = scores if scores.shape[1] > 1 else np.concatenate([1 - scores, scores], axis=1)
        return found

    def normalised(self, images: Grey) -> Tensor:
        """Network input, (N, rows, columns) uint8 -> (N, channels, rows, columns) float32 in the contract's range."""
        low, high = self.contract.input.range
        x = torch.from_numpy(np.ascontiguousarray(images)).unsqueeze(1).float() / 255 * (high - low) + low
        return x.expand(-1, self.contract.input.channels, -1, -1).contiguous()

    def _takes(self, count: int) -> bool:
        """Whether the network runs on a batch of so many; an exported program may be fixed to one size."""
        try:
            with torch.no_grad():
                self.network(self.normalised(self._blank(count)).to(self.device))
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception:
            return False
        return True

    def _check(self) -> None:
        try:
            found = self.probabilities(self._blank(1))
        except Exception as cause:
            detail = "The network does not run on an image of its contract's size and channels; correct the contract."
            raise ModelUnusable(detail) from cause
        if found.shape[1] != len(self.contract.classes) or not np.isfinite(found).all():
            detail = f"The network gives {found.shape[1]} numbers an image, or none that are finite; the contract has"
            raise ModelUnusable(f"{detail} {len(self.contract.classes)} classes.")

    def _blank(self, count: int) -> Grey:
        return np.zeros((count, self.contract.input.rows, self.contract.input.columns), np.uint8)


def _network(version: ModelVersion) -> nn.Module:
    if (version.folder / PROGRAM).exists():
        return _program(version.folder / PROGRAM)
    dotted = (version.manifest.get("network") or {}).get("name")
    if not isinstance(dotted, str):
        raise ModelUnusable("The version names no network for its weights; register it again with one.")
    try:
        network = resolve(dotted)()
        network.load_state_dict(safetensors.torch.load_file(version.folder / WEIGHTS), strict=True)
    except (ImportError, AttributeError) as cause:
        detail = "The network that the version names is not installed on this worker; install its package there."
        raise ModelUnusable(detail) from cause
    except Exception as cause:
        raise ModelUnusable("The weights do not fit the network that the version names.") from cause
    if not isinstance(network, nn.Module):
        raise ModelUnusable("What the version names does not build a torch.nn.Module.")
    return network


def _program(path: Path) -> nn.Module:
    """An exported program whose archive holds plain tensors only (torch would unpickle others without asking)."""
    _check_archive(path)
    try:
        module: nn.Module = torch.export.load(path).module()
    except Exception as cause:
        raise ModelUnusable(f"torch {torch.__version__} cannot load this exported program; export it again.") from cause
    return module


_KNOWN = re.compile(
    r"[^/]+/(models/model\.json|data/weights/(weight_\d+|model_weights_config\.json)|data/sample_inputs/model\.pt|"
    r"data/constants/(tensor_\d+|model_constants_config\.json)|archive_format|archive_version|byteorder|version|"
    r"\.data/(version|serialization_id))"
)
"""Members of an archive that torch.export.save writes for a network of plain tensors."""


def _check_archive(path: Path) -> None:
    refused = "The exported program holds pickled objects, which are not loaded; export a network of plain tensors."
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if not all(_KNOWN.fullmatch(name) for name in names):
                raise ModelUnusable(refused)
            for name in names:
                if name.endswith("_config.json"):
                    entries = json.loads(archive.read(name))["config"].values()
                    if any(entry["use_pickle"] is not False for entry in entries):
                        raise ModelUnusable(refused)
                if name.endswith(".pt") and archive.getinfo(name).file_size:
                    with archive.open(name) as inputs:
                        _plain_tensors(inputs.read(), refused)
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, TypeError, AttributeError) as cause:
        raise ModelUnusable("The file is not what torch.export.save writes; export the network again.") from cause


def _plain_tensors(content: bytes, refused: str) -> None:
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception as cause:
        raise ModelUnusable(refused) from cause
