"""The curves of a training: thinned points of named figures, kept in the checkpoint and drawn at the end."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

POINTS = 100
"""Points of a loss curve: every further step between two of them goes into the mean of the next."""


class Curves:
    """Points (step, value) by the name of the figure, in the order in which names first came."""

    def __init__(self, points: Mapping[str, Iterable[Iterable[float]]] | None = None) -> None:
        """`points` as `as_json` gave them."""
        self._points = {name: [(int(step), float(value)) for step, value in of] for name, of in (points or {}).items()}

    def add(self, name: str, step: int, value: float) -> None:
        """A point; one that is no number is not kept, because JSON and plots have no place for it."""
        if math.isfinite(value):
            self._points.setdefault(name, []).append((step, value))

    def forget_after(self, label: str, step: int) -> None:
        """Drop the points of a fit that lie behind the checkpoint from which it goes on."""
        for name in self._points:
            if name.rpartition("/")[0] == label:
                self._points[name] = [point for point in self._points[name] if point[0] <= step]

    def as_json(self) -> dict[str, list[list[float]]]:
        """Name -> [[step, value], ...]."""
        return {name: [[step, value] for step, value in of] for name, of in self._points.items()}

    def last(self, name: str) -> float | None:
        """The newest value of a figure."""
        of = self._points.get(name)
        return of[-1][1] if of else None

    def text(self) -> bytes:
        """curves.json."""
        return json.dumps(self.as_json(), indent=1).encode()

    def event_file(self) -> tuple[str, bytes]:
        """Name and content of a TensorBoard event file; its clock starts at 0, so that equal curves are equal files."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.record_writer import RecordWriter

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "events"
            writer = RecordWriter(str(path))
            writer.write(Event(wall_time=0.0, file_version="brain.Event:2").SerializeToString())
            for name, of in self._points.items():
                for step, value in of:
                    summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
                    writer.write(Event(wall_time=float(step), step=step, summary=summary).SerializeToString())
            writer.flush()
            writer.close()
            return "events.out.tfevents.0.medjobs", path.read_bytes()


def thinning(steps: int) -> int:
    """Steps between two points of a loss curve of `steps` steps."""
    return max(1, math.ceil(steps / POINTS))
