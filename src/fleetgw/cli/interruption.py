"""End of commands that run until somebody interrupts them."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def until_interrupted() -> Iterator[None]:
    """End the block at Ctrl-C, or when nobody reads standard output any more, as the ordinary end of such a command."""
    try:
        yield
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        with open(os.devnull, "wb") as nothing:  # the end of the process would try once more to write what is left
            os.dup2(nothing.fileno(), sys.stdout.fileno())
