"""Tests on asyncio loops, of programs that run the gateway inside themselves."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, TypeVar

from fleetgw.embed import Record
from tests.support.embed_case import EmbedCase

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

DEADLINE_S = 60.0
"""How long a test may take before it fails: far more than it does."""


class AsyncioCase(EmbedCase):
    """Base of tests with ``on_a_loop``."""

    def run_on_a_loop(self, main: Coroutine[object, object, None]) -> None:
        """Run it on a loop of its own; what it leaves there, and what the loop complains of, are failures."""
        complaints: list[str] = []

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(str(context)))
            async with asyncio.timeout(DEADLINE_S):
                await main
            self.assertEqual(asyncio.all_tasks() - {asyncio.current_task()}, set())

        asyncio.run(watched())
        self.assertEqual(complaints, [])


Case = TypeVar("Case", bound=AsyncioCase)


def on_a_loop(test: Callable[[Case], Coroutine[object, object, None]]) -> Callable[[Case], None]:
    """Make a test of a coroutine: it runs as ``AsyncioCase.run_on_a_loop`` says."""

    @functools.wraps(test)
    def run(case: Case) -> None:
        case.run_on_a_loop(test(case))

    return run


class Calls(list[Record]):
    """A listener that keeps what it gets, and can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Event()

    def __call__(self, record: Record) -> None:
        """Keep it."""
        self.append(record)
        self._news.set()

    @property
    def txids(self) -> list[str]:
        """Of the records, in order."""
        return [record.txid for record in self]

    async def reached(self, count: int) -> None:
        """Wait until there are so many."""
        while len(self) < count:
            self._news.clear()
            await self._news.wait()
