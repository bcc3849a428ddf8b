"""Tests on asyncio loops, of programs that run the gateway inside themselves."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, TypeVar

from fleetgw.embed import Record
from tests.support.deadline import DEADLINE_S
from tests.support.embed_case import EmbedCase

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class AsyncioCase(EmbedCase):
    """Base of tests with ``on_a_loop``."""

    def run_on_a_loop(self, main: Coroutine[object, object, None]) -> None:
        """Run a coroutine on a loop of its own; tasks left on the loop, and errors that the loop logs, are failures."""
        errors: list[str] = []

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(str(context)))
            async with asyncio.timeout(DEADLINE_S):
                await main
            self.assertEqual(asyncio.all_tasks() - {asyncio.current_task()}, set())

        asyncio.run(watched())
        self.assertEqual(errors, [])


Case = TypeVar("Case", bound=AsyncioCase)


def on_a_loop(test: Callable[[Case], Coroutine[object, object, None]]) -> Callable[[Case], None]:
    """Make a test of a coroutine, run by ``AsyncioCase.run_on_a_loop``."""

    @functools.wraps(test)
    def run(case: Case) -> None:
        case.run_on_a_loop(test(case))

    return run


class Calls(list[Record]):
    """A listener that keeps its records, with a way to wait for them."""

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Event()

    def __call__(self, record: Record) -> None:
        """Keep a record."""
        self.append(record)
        self._news.set()

    @property
    def txids(self) -> list[str]:
        """Txids of the records, in order."""
        return [record.txid for record in self]

    async def reached(self, count: int) -> None:
        """Wait until there are ``count`` records."""
        while len(self) < count:
            self._news.clear()
            await self._news.wait()
