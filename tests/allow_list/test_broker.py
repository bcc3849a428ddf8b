"""The allow list as a set of a real Redis."""

from __future__ import annotations

import atexit
from functools import cache
from typing import TYPE_CHECKING

from redis import Redis
from twisted.trial.unittest import TestCase

from fleetgw.adapters.allow_list.redis_set import AllowListSet
from fleetgw.testing.real_reactor import the_reactor
from tests.support.allow_list_contract import FIRST, AllowListContract
from tests.support.needed import needed
from tests.support.redis.servers import RedisServer, missing

if TYPE_CHECKING:
    from fleetgw.domain.ports import IAllowListSource

KEY = "fleet:vins"


@cache
def the_server() -> RedisServer:
    needed(missing())
    server = RedisServer()
    atexit.register(server.stop)
    return server


class SetTests(AllowListContract, TestCase):
    def setUp(self) -> None:
        self.server = the_server()
        self.server.start()
        self.client.flushall()

    @property
    def client(self) -> Redis:
        client = Redis(port=self.server.port, db=1)
        self.addCleanup(client.close)
        return client

    def make(self, **options: str) -> IAllowListSource:
        return AllowListSet("127.0.0.1", self.server.port, KEY, the_reactor(), 30.0, db=1, **options)

    async def put(self, *vehicles: str) -> None:
        self.server.start()
        self.client.delete(KEY)
        self.client.sadd(KEY, *vehicles)

    async def put_garbage(self) -> None:
        self.client.sadd(KEY, "no vehicle's")

    async def take_away(self) -> None:
        self.server.kill()

    async def test_no_set_and_another_type(self) -> None:
        self.assertIn("SADD", await self.refusal(self.make()))
        self.client.set(KEY, FIRST)
        self.assertIn("WRONGTYPE", await self.refusal(self.make()))

    async def test_a_long_set(self) -> None:
        vehicles = {f"5YJ3E1EA7KF{number:06}" for number in range(12_000)}
        await self.put(*vehicles)
        self.assertEqual(await self.read(self.make()), vehicles)

    async def test_the_same_set_is_told_as_unchanged(self) -> None:
        source = self.make()
        await self.put(FIRST)
        self.assertEqual(await self.read(source), {FIRST})
        self.assertIsNone(await self.read(source))

    async def test_a_wrong_password(self) -> None:
        client = self.client
        client.config_set("requirepass", "right")
        self.addCleanup(client.config_set, "requirepass", "")
        client.sadd(KEY, FIRST)
        self.assertIn("password", await self.refusal(self.make(password="wrong")))
        self.assertEqual(await self.read(self.make(password="right")), {FIRST})
