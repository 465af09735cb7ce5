"""Keep the parsing libraries silent: what they log and warn about holds patient values.

pydicom logs and warns with the offending value ("Invalid value for VR UI: ..."). `warnings.catch_warnings` swaps a
process-wide list and so is not usable around parses that run in many threads at once. All of pydicom's warnings pass
through the one function `pydicom.misc.warn_and_log`; it is replaced here, once, in every module that holds it.
"""

from __future__ import annotations

import logging
import sys

import pydicom
import pydicom.config
import pydicom.misc


def _say_nothing(msg: str, category: type[Warning] | None = None, stacklevel: int = 1) -> None:
    """Stand in for `pydicom.misc.warn_and_log`."""


def silence_pydicom() -> None:
    """Replace pydicom's one way to warn, and switch its logger off."""
    loud = {pydicom.misc.warn_and_log}
    pydicom.misc.warn_and_log = _say_nothing
    for name, module in list(sys.modules.items()):
        if name.startswith("pydicom") and getattr(module, "warn_and_log", None) in loud:
            vars(module)["warn_and_log"] = _say_nothing
    # Validation of values only produces the warnings above, and costs time.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    _switch_off("pydicom")


def _switch_off(logger: str) -> None:
    quiet = logging.getLogger(logger)
    quiet.setLevel(logging.CRITICAL + 1)
    quiet.propagate = False
    if not quiet.handlers:
        quiet.addHandler(logging.NullHandler())
