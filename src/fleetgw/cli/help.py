"""Layout of ``--help``."""

from __future__ import annotations

import argparse
import textwrap


class HelpFormatter(argparse.HelpFormatter):
    """Fits the paragraphs of descriptions to the terminal; blocks with indented lines, such as examples, stay unchanged."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = text.rstrip("\n").split("\n\n")
        return "\n\n".join(
            block if "\n " in f"\n{block}" else textwrap.fill(block, width, initial_indent=indent, subsequent_indent=indent)
            for block in blocks
        )
