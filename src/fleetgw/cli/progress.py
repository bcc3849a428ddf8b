"""Progress of a command that takes long, on standard error where that is a terminal."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A line that is removed at the end; gives the function that sets its text."""
    from rich.console import Console
    from rich.text import Text

    status = Console(stderr=True).status("")  # it writes to terminals only
    with status:
        yield lambda text: status.update(Text(text))


def with_progress(parts: Iterable[T], what: str) -> Iterator[T]:
    """Count the parts as they are taken."""
    with progress() as show:
        for number, part in enumerate(parts):
            show(f"{what} ... part {number + 1}")
            yield part
