"""Twisted's reactor on another program's loop; tests of global state run in processes of their own."""

import asyncio
import os
import subprocess
import sys
import threading
from unittest import TestCase

from fleetgw.embed.loop_reactor import hold_reactor, release_reactor
from tests.support.deadline import DEADLINE_S


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env=os.environ,
    )
    return done.stdout + done.stderr


class LoopReactorTests(TestCase):
    def test_one_reactor_a_loop(self) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            first, second = hold_reactor(loop), hold_reactor(loop)
            self.assertIs(first, second)
            release_reactor(loop)
            self.assertIs(hold_reactor(loop), first)
            for _ in range(2):
                release_reactor(loop)
            self.assertEqual(first.getReaders(), [])

        asyncio.run(main())

    def test_one_gateway_after_another_has_the_same_one_beside_another_reactor(self) -> None:
        program = (
            "from twisted.internet import selectreactor; selectreactor.install()\n"
            "import asyncio\n"
            "from fleetgw.embed.loop_reactor import *\n"
            "async def main():\n"
            "    loop = asyncio.get_running_loop()\n"
            "    first = hold_reactor(loop); release_reactor(loop)\n"
            "    second = hold_reactor(loop); release_reactor(loop)\n"
            "    print(first is second, second.threadpool)\n"
            "asyncio.run(main())\n"
        )
        self.assertEqual(run(program), "True None\n")

    def test_threads_end_with_the_last_gateway(self) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            reactor = hold_reactor(loop)
            done = asyncio.Event()
            reactor.callInThread(lambda: reactor.callFromThread(done.set))
            async with asyncio.timeout(DEADLINE_S):
                await done.wait()
            release_reactor(loop)

        before = threading.active_count()
        asyncio.run(main())
        self.assertEqual(threading.active_count(), before)

    def test_stopping_the_reactor_does_not_stop_the_loop(self) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            reactor = hold_reactor(loop)
            stopped, turned = asyncio.Event(), asyncio.Event()
            reactor.addSystemEventTrigger("after", "shutdown", stopped.set)
            reactor.stop()
            async with asyncio.timeout(DEADLINE_S):
                await stopped.wait()
                release_reactor(loop)
                loop.call_soon(turned.set)  # a loop that was told to stop would end before
                await turned.wait()

        asyncio.run(main())

    def test_is_installed_where_there_is_none(self) -> None:
        program = (
            "import asyncio\n"
            "from fleetgw.embed.loop_reactor import *\n"
            "async def main():\n"
            "    mine = hold_reactor(asyncio.get_running_loop())\n"
            "    from twisted.internet import reactor\n"
            "    print(mine is reactor, reactor.running)\n"
            "asyncio.run(main())\n"
        )
        self.assertEqual(run(program), "True True\n")

    def test_leaves_another_in_its_place(self) -> None:
        program = (
            "import asyncio\n"
            "from twisted.internet import reactor\n"
            "from fleetgw.embed.loop_reactor import *\n"
            "async def main():\n"
            "    mine = hold_reactor(asyncio.get_running_loop())\n"
            "    import twisted.internet\n"
            "    print(mine is reactor, twisted.internet.reactor is reactor, reactor.running)\n"
            "asyncio.run(main())\n"
        )
        self.assertEqual(run(program), "False True False\n")

    def test_uses_the_one_of_the_loop(self) -> None:
        program = (
            "import asyncio\n"
            "from twisted.internet import asyncioreactor\n"
            "loop = asyncio.new_event_loop()\n"
            "asyncioreactor.install(loop)\n"
            "from twisted.internet import reactor\n"
            "from fleetgw.embed.loop_reactor import *\n"
            "def begin():\n"
            "    print(hold_reactor(loop) is reactor)\n"
            "    release_reactor(loop)\n"
            "    reactor.stop()\n"
            "reactor.callWhenRunning(begin)\n"
            "reactor.run()\n"
            "loop.close()\n"
        )
        self.assertEqual(run(program), "True\n")

    def test_importing_the_package_installs_nothing(self) -> None:
        program = "import sys, fleetgw.embed\nprint('twisted.internet.reactor' in sys.modules)\n"
        self.assertEqual(run(program), "False\n")
