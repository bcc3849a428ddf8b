"""The C extension, for tests of its functions: they run whichever path the process itself has chosen."""

from importlib import import_module
from typing import Any

from tests.support.needed import needed


def speedups() -> Any:  # a module whose functions are tested against their twins
    """The extension; skips the test where it is not built, and fails it where it must be."""
    lack, module = None, None
    try:
        module = import_module("fleetgw._speedups")
    except ImportError as error:
        lack = f"the C extension is not built: {error}"
    needed(lack)
    return module
