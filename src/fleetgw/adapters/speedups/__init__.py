"""The choice between the hot path in C and its Python twins; made once, at the import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

VARIABLE = "FLEETGW_SPEEDUPS"
"""The environment variable that turns the extension off, with the value ``0``."""


def _choose() -> tuple[ModuleType | None, str]:
    if os.environ.get(VARIABLE) == "0":
        return None, f"{VARIABLE}=0"
    try:
        import fleetgw._speedups as extension
    except ModuleNotFoundError:
        return None, "the extension is not built"
    except ImportError as error:
        return None, f"the extension cannot be loaded: {error}"
    if _is_older_than_its_source(Path(extension.__file__)):
        return None, "the extension is older than its source: pip install --no-deps --editable ."
    return extension, ""


def _is_older_than_its_source(extension: Path) -> bool:
    """Whether this is a checkout whose C file has changed since it was compiled."""
    source = extension.with_name("_speedups.c")
    return source.exists() and source.stat().st_mtime > extension.stat().st_mtime


SPEEDUPS, REASON = _choose()
"""The extension, None when the Python twins run; and the reason why they do, empty when they do not."""
