"""Shows on a terminal which checks still run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self


class Progress:
    """A line on standard error that is removed at the end; nothing where standard error is no terminal."""

    def __init__(self, subjects: Iterable[str]) -> None:
        self._left = dict.fromkeys(subjects)
        self._status = Console(stderr=True).status(self._text())  # it writes to terminals only

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._status.stop()

    def done(self, subject: str) -> None:
        """A check has ended."""
        self._left.pop(subject, None)
        self._status.update(self._text())

    def _text(self) -> str:
        return f"looking at {', '.join(self._left)} ..."
