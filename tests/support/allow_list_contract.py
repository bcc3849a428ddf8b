"""The contract of the port ``IAllowListSource``, for every adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface.verify import verifyObject

from fleetgw.domain.errors import UnusableAllowList
from fleetgw.domain.ports import IAllowListSource

if TYPE_CHECKING:
    from unittest import TestCase

    from twisted.internet.defer import Deferred
else:
    TestCase = object  # a mixin: the contract alone is no test

FIRST, SECOND = "5YJ3E1EA7KF000001", "5YJ3E1EA7KF000002"


class AllowListContract(TestCase):
    """Mix into Trial's ``TestCase``."""

    def make(self) -> IAllowListSource:
        """Make the adapter of a source that cannot be reached or does not exist yet."""
        raise NotImplementedError

    async def put(self, *vehicles: str) -> None:
        """Make the source reachable, with these entries."""
        raise NotImplementedError

    async def put_garbage(self) -> None:
        """Make the source reachable, with content that is no list of VINs."""
        raise NotImplementedError

    async def take_away(self) -> None:
        """Make the source unreachable."""
        raise NotImplementedError

    async def read(self, source: IAllowListSource) -> frozenset[str] | None:
        """Read once."""
        answer: Deferred[frozenset[str] | None] = source.read()
        return await answer

    async def refusal(self, source: IAllowListSource) -> str:
        """The reason why the source cannot be read."""
        try:
            answer = await self.read(source)
        except UnusableAllowList as error:
            return str(error)
        raise AssertionError(f"the source was read: {answer}")

    def test_the_interface(self) -> None:
        source = self.make()
        verifyObject(IAllowListSource, source)
        self.assertGreater(source.interval_s, 0)

    async def test_a_change_is_read(self) -> None:
        source = self.make()
        await self.put(FIRST)
        self.assertEqual(await self.read(source), {FIRST})
        await self.put(FIRST, SECOND)
        self.assertEqual(await self.read(source), {FIRST, SECOND})
        await self.put(SECOND)
        self.assertEqual(await self.read(source), {SECOND})

    async def test_an_unreachable_source_says_why(self) -> None:
        source = self.make()
        self.assertTrue(await self.refusal(source))
        await self.put(FIRST)
        self.assertEqual(await self.read(source), {FIRST})
        await self.take_away()
        self.assertTrue(await self.refusal(source))
        await self.put(FIRST)
        self.assertIn(await self.read(source), (None, {FIRST}))

    async def test_garbage_is_no_list(self) -> None:
        source = self.make()
        await self.put_garbage()
        self.assertTrue(await self.refusal(source))
        self.assertTrue(await self.refusal(source), "it is read again")
        await self.put(FIRST)
        self.assertEqual(await self.read(source), {FIRST})
