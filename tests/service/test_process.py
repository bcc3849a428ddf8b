"""The gateway as twistd's service: signals and exit status."""

from __future__ import annotations

from typing import Any, cast
from unittest import TestCase, mock

from twisted.internet.defer import Deferred, fail

from fleetgw.app.service import process
from fleetgw.app.service.process import GatewayProcess
from fleetgw.app.service.service_maker import Options, makeService
from fleetgw.domain.errors import ConfigurationError, Problem
from tests.support.service_case import VEHICLES, ServiceCase, ServiceReactor


class ProcessTests(ServiceCase):
    """The gateway under twistd. Doubles replace the calls that would change the process of the tests."""

    def setUp(self) -> None:
        super().setUp()
        for name in ("early_signals", "signal", "gc", "_before_threads_are_joined"):
            patched = mock.patch.object(process, name)
            setattr(self, name, patched.start())
            self.addCleanup(patched.stop)

    def process(self, **changes: object) -> GatewayProcess:
        self.make(**changes)
        log = mock.Mock(wraps=self.log, finish=lambda: 0)
        return GatewayProcess(self.life, self.source, log, mock.Mock(), cast("Any", self.reactor), {})

    def exit_status(self) -> int:
        called: Any = self._before_threads_are_joined  # type: ignore[attr-defined]  # a double of ``setUp``
        ((_, status),) = [call.args for call in called.call_args_list]
        return int(status)

    def test_a_stop_by_signal_ends_with_0(self) -> None:
        service = self.process()
        service.privilegedStartService()
        service.startService()
        self.reactor.run()
        self.assertEqual(self.life.port, VEHICLES)
        self.assertTrue(service.stopService().called)
        self.assertEqual((self.exit_status(), self.reactor.stops), (0, 0))

    def test_hangups_during_a_reload_add_one_more_and_a_bug_is_logged(self) -> None:
        service = self.process()
        reloads: list[Deferred[None]] = []

        def reload(_: object) -> Deferred[None]:
            reloads.append(Deferred())
            return reloads[-1]

        with mock.patch.object(self.life, "reload", reload):
            for _ in range(5):
                service._reload()
            self.assertEqual(len(reloads), 2)
            reloads[0].errback(RuntimeError("a bug"))
            service._reload()
            service._reload()
            self.assertEqual(len(reloads), 3)
            reloads[1].errback(ConfigurationError([Problem("a", "b", "c")]))
            reloads[2].callback(None)
        (fields,) = self.log.fields_of("configuration_not_reloaded")
        self.assertIn("a bug", str(fields["error"]))

    def test_a_gateway_that_cannot_start_ends_the_process_with_1(self) -> None:
        def broken() -> Deferred[None]:
            raise RuntimeError("a bug")

        for start in (broken, lambda: fail(ConfigurationError([Problem("a", "b", "c")]))):
            self.reactor = ServiceReactor()
            self._before_threads_are_joined.reset_mock()  # type: ignore[attr-defined]  # a double
            service = self.process()
            self.memory.start = start  # type: ignore[method-assign]  # a double
            service.privilegedStartService()
            service.startService()
            self.assertEqual((self.reactor.stops, service.exit_status), (0, 0))
            self.reactor.run()
            self.assertEqual((self.reactor.stops, service.exit_status), (1, 1))
            self.assertTrue(self.stopped_within(service.stopService(), 1))
            self.assertEqual(self.exit_status(), 1)

    def test_an_unexpected_error_ends_the_process_and_is_logged(self) -> None:
        service = self.process()
        service.privilegedStartService()
        with mock.patch.object(self.life, "start") as start:
            start.return_value = fail(KeyError("a bug"))
            service.startService()
        self.assertEqual((self.reactor.stops, service.exit_status), (1, 1))
        self.assertIn("a bug", str(self.log.fields_of("cannot_start")))

    def test_a_stop_while_sinks_start_is_no_failure(self) -> None:
        service = self.process()
        self.memory.start = Deferred  # type: ignore[method-assign]  # a double
        service.privilegedStartService()
        service.startService()
        self.reactor.run()
        self.assertTrue(service.stopService().called)
        self.assertEqual((self.exit_status(), self.reactor.stops), (0, 0))

    def test_a_second_end_does_nothing(self) -> None:
        service = self.process()
        service.end()
        service.end()
        self.assertEqual(self.reactor.stops, 2)


class MakingTests(TestCase):
    def test_interrupted_while_sinks_are_loaded(self) -> None:
        options = Options()
        options["config"] = "config.json"
        with (
            mock.patch("fleetgw.app.service.service_maker.load_config", side_effect=KeyboardInterrupt),
            self.assertRaises(SystemExit) as caught,
        ):
            makeService(options)
        self.assertEqual(caught.exception.code, 130)
