"""An embedded gateway leaves the global state of its asyncio program unchanged."""

import asyncio
import logging
import signal
import sys
import threading

from fleetgw.embed import Gateway
from tests.support.asyncio_case import AsyncioCase, Calls, on_a_loop
from tests.support.embed_case import payload_of


class SomebodyElsesLoopTests(AsyncioCase):
    @on_a_loop
    async def test_takes_no_signals_and_leaves_the_loop_running(self) -> None:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
        loop = asyncio.get_running_loop()
        before = [signal.getsignal(number) for number in numbers]
        threads = threading.active_count()
        async with Gateway(self.config()):
            self.assertEqual([signal.getsignal(number) for number in numbers], before)
        self.assertEqual([signal.getsignal(number) for number in numbers], before)
        self.assertTrue(loop.is_running())
        self.assertLessEqual(threading.active_count(), threads + 1, "no threads but the loop's executor")

    def test_reads_no_file_on_the_loop(self) -> None:
        read: list[str] = []
        loops_thread = threading.get_ident()

        def note(event: str, arguments: tuple[object, ...]) -> None:
            if watching and event == "open" and threading.get_ident() == loops_thread:
                read.append(str(arguments[0]))

        watching = False
        sys.addaudithook(note)

        async def main() -> None:
            nonlocal watching
            calls = Calls()
            gateway = Gateway(self.config())
            gateway.listen(calls, record_type="V")
            vehicle = self.vehicle(0)
            watching = True
            await gateway.start()
            watching = False
            vehicle = self.vehicle(gateway.port)
            watching = True
            async with vehicle:
                vehicle.send("V", payload_of(Soc=1), b"tx-1")
                await calls.reached(1)
            await gateway.stop()
            watching = False

        self.run_on_a_loop(main())
        self.assertEqual(read, [])

    def test_events_go_to_the_program_s_logger(self) -> None:
        async def main() -> None:
            async with Gateway(self.config(), logger=logging.getLogger("mine.telemetry")):
                pass

        with self.assertLogs("mine.telemetry", "INFO") as logged:
            self.run_on_a_loop(main())
        messages = [each.getMessage() for each in logged.records]
        self.assertTrue(any(message.startswith('server_listening {"host":"127.0.0.1"') for message in messages), messages)
