"""A gateway that has been started and stopped leaves nothing behind, without the garbage collector's help."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections import Counter

from fleetgw.adapters.metrics.store import MetricStore
from fleetgw.embed import Gateway
from tests.support.asyncio_case import AsyncioCase

TIMES = 1_000
CANCELLED_TIMERS_MAX = 60
"""Twisted forgets cancelled timers only once there are more than fifty."""

LEFT_BY_PYOPENSSL = {"_VerifyHelper", "_ALPNSelectHelper"}
"""pyOpenSSL's, one of each for a context: they refer to themselves, and to nothing of ours but two functions."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)


def objects_of_ours() -> Counter[str]:
    """Number of instances of each class of the gateway and of Twisted."""
    kinds = (type(each) for each in gc.get_objects())
    return Counter(
        kind.__qualname__ for kind in kinds if str(kind.__module__).startswith(("fleetgw.", "twisted.", "OpenSSL."))
    )


class NothingLeftTests(AsyncioCase):
    def test_a_thousand_starts_and_stops(self) -> None:
        async def once() -> None:
            async with Gateway(self.config()):
                pass

        async def while_one_runs() -> Counter[str]:
            async with Gateway(self.config()):
                return objects_of_ours()

        async def main() -> None:
            gc.collect()
            gc.disable()
            try:
                for _ in range(3):
                    await once()
                of_a_gateway = await while_one_runs()
                await asyncio.sleep(0)
                before, files = objects_of_ours(), len(os.listdir("/proc/self/fd"))
                handlers, threads = [signal.getsignal(number) for number in SIGNALS], threading.active_count()
                for _ in range(TIMES):
                    await once()
                await asyncio.sleep(0)
                left = objects_of_ours() - before
                kept = left[MetricStore.__qualname__]  # gateways that are not freed yet, each with all that it has
                self.assertLessEqual(kept, CANCELLED_TIMERS_MAX)
                more = {
                    kind: count for kind, count in left.items() if count > CANCELLED_TIMERS_MAX + kept * of_a_gateway[kind]
                }
                self.assertEqual(more.keys() - LEFT_BY_PYOPENSSL, set(), more)
                self.assertLessEqual(len(os.listdir("/proc/self/fd")), files)
                self.assertEqual([signal.getsignal(number) for number in SIGNALS], handlers)
                self.assertLessEqual(threading.active_count(), threads + 4, "no threads but the loop's executor")
            finally:
                gc.enable()

        self.run_on_a_loop(main())
