"""The console that tables are printed to."""

from __future__ import annotations

import sys

from rich.console import Console


def table_console(columns: int) -> Console:
    """Standard output: as wide as the terminal, or so many columns where it is no terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else columns)
