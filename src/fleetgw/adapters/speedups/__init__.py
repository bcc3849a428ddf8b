"""The choice between the hot path in C and its Python twins; made once, at the import."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

VARIABLE = "FLEETGW_SPEEDUPS"
"""The environment variable that turns the extension off, with the value ``0``."""


def _choose() -> tuple[ModuleType | None, str]:
    if os.environ.get(VARIABLE) == "0":
        return None, f"Python ({VARIABLE}=0)"
    try:
        from fleetgw import _speedups
    except ImportError as error:
        return None, f"Python (the extension is not there: {error})"
    return _speedups, "C"


SPEEDUPS, DESCRIPTION = _choose()
"""The extension, None when the Python twins run; and which of both runs, with the reason, in words."""
