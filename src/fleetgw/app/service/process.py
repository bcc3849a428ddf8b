"""The gateway as a process of its own under twistd: signals, log, exit status."""

from __future__ import annotations

import atexit
import gc
import os
import select
import signal
import sys
import threading
from contextlib import suppress
from signal import SIGHUP, SIGINT, SIGTERM, SIGUSR1
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError
from twisted.internet.error import ReactorNotRunning
from twisted.logger import ILogObserver

from fleetgw.adapters.logs.log_file import AppendedLogFile
from fleetgw.adapters.logs.twisted_events import TwistedLogObserver
from fleetgw.adapters.process.systemd import ServiceManager
from fleetgw.app.service import early_signals
from fleetgw.app.service.pid_file import restrict_pid_file
from fleetgw.domain.errors import ConfigurationError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, MutableMapping

    from twisted.application.service import IServiceCollection
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from fleetgw.adapters.logs.lines import ILineStream, LineLog
    from fleetgw.adapters.process.systemd import Supervision
    from fleetgw.app.service.composition import IGatewayReactor
    from fleetgw.app.service.life import GatewayLife
    from fleetgw.app.service.reloading_configuration import ConfigurationSource

COULD_NOT_START = 1
LOG_LINES_LOST = 3

RELOADS_MAX = 2
"""One reload under way, and one that waits for it: by then it reads the newest file, so that further signals add nothing."""


class _CannotStart(SystemExit, Exception):
    """Ends the process with status 1 and no traceback, as ``SystemExit`` does.

    It is an ``Exception``, too: twistd tells the waiting parent process of a daemon of no other kind.
    """

    def __init__(self, error: ConfigurationError) -> None:
        super().__init__(COULD_NOT_START)
        self._problems = str(error)

    def __str__(self) -> str:
        return self._problems


class GatewayProcess(Service):
    """A gateway as twistd's service, with signal handlers, log observer and exit status of its own.

    :param stream: the destination of ``log``.
    :param twistd_options: twistd's own.
    :param source: the configuration, for SIGHUP.
    :param inherited: as in ``GatewayLife.bind``.
    :param supervision: the settings of systemd; None where it has not started the process, or wants no notifications.

    :ivar exit_status: exit status of the process: 0, or 1 when the gateway could not start.
    """

    def __init__(
        self,
        life: GatewayLife,
        source: ConfigurationSource,
        log: LineLog,
        stream: ILineStream,
        reactor: IGatewayReactor,
        twistd_options: MutableMapping[str, object],
        inherited: Mapping[str, socket.socket] = MappingProxyType({}),
        supervision: Supervision | None = None,
    ) -> None:
        self.exit_status = 0
        self._life = life
        self._source = source
        self._reloads = 0
        self._log = log
        self._stream = stream
        self._reactor = reactor
        self._twistd_options = twistd_options
        self._inherited = inherited
        self._manager = ServiceManager(supervision, reactor, life.log)
        self._take_signals()

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """``parent`` is twistd's application: it gets our log observer before twistd makes one."""
        application: Any = parent  # also a Componentized, which its interface does not say
        application.setComponent(ILogObserver, TwistedLogObserver(self._life.log))
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Bind the ports. One that cannot be bound ends the process with a line of log in place of a traceback."""
        restrict_pid_file(self._twistd_options)
        try:
            self._life.bind(self._inherited)
        except ConfigurationError as error:
            for problem in error.problems:
                self._log.error("cannot_start", key=problem.path, error=problem.what, fix=problem.fix)
            raise _CannotStart(error) from error

    def startService(self) -> None:
        """Start the gateway; end the process when it cannot start.

        The reactor installs signal handlers of its own as it starts, and ours replace them again: with the reactor's, twistd
        would end itself by the same signal, but a stop by signal has the exit status 0.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, self._receivers)
        self._reactor.callWhenRunning(self._take_signals_back)
        super().startService()
        self._life.start().addCallbacks(self._started, self._not_started)
        _tune_garbage_collection()

    def _started(self, _: None) -> None:
        self._manager.ready(self._life.status)

    def _not_started(self, failure: Failure) -> None:
        if failure.check(CancelledError):  # the gateway is stopping already
            return
        if not failure.check(ConfigurationError):  # those have been logged one by one
            self._log.error("cannot_start", error=failure.getTraceback())
        self.exit_status = COULD_NOT_START
        self.end()

    def end(self) -> None:
        """End the process in order; does nothing when it is ending already."""
        with suppress(ReactorNotRunning):
            self._reactor.stop()

    def _take_signals(self) -> None:
        def on_reactor(called: Any) -> Any:  # a handler may come between any two instructions
            return lambda: self._reactor.callFromThread(called)

        self._receivers = {
            SIGTERM: on_reactor(self.end),
            SIGINT: on_reactor(self.end),
            SIGHUP: on_reactor(self._reload),
            SIGUSR1: on_reactor(self._reopen_log),
        }
        early_signals.hand_over(self._receivers)

    def _take_signals_back(self) -> None:
        early_signals.hand_over(self._receivers)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._receivers)

    def _reload(self) -> None:
        self._life.reload_certificates()
        if self._reloads < RELOADS_MAX:
            self._reloads += 1
            self._manager.reloading()
            self._life.reload(self._source).addErrback(self._not_reloaded).addCallback(self._reloaded)

    def _not_reloaded(self, failure: Failure) -> None:
        if not failure.check(ConfigurationError, CancelledError):  # those have been logged, or the gateway stops
            self._log.error("configuration_not_reloaded", error=failure.getTraceback())

    def _reloaded(self, _: None) -> None:
        self._reloads -= 1
        if not self._reloads:
            self._manager.reloaded()

    def _reopen_log(self) -> None:
        if not isinstance(self._stream, AppendedLogFile):
            return
        try:
            self._stream.reopen()
        except OSError as error:
            self._life.log.error(
                "log_not_reopened", error=f"{self._stream.path}: {error.strerror}; the old file stays in use"
            )
        else:
            self._log.info("log_reopened")

    def stopService(self) -> Deferred[None]:
        """Stop the gateway; the process ends soon after the reactor, with its exit status."""
        super().stopService()
        stopped = self._life.stop()
        self._manager.stopping(self._life.longest_stop_s)
        return stopped.addBoth(self._stopped)

    def _stopped(self, result: None) -> None:
        status = self.exit_status
        if unwritten := self._log.finish():
            _print(f"fleetgw: {unwritten} log lines could not be written, the last ones; dead letters may be among them")
            status = status or LOG_LINES_LOST
        _before_threads_are_joined(_exit, status)
        return result


def _print(text: str) -> None:
    """Write to standard error, unless that would block."""
    with suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(sys.__stderr__ or 2, select.POLLOUT)
        if poll.poll(0):
            print(text, file=sys.__stderr__, flush=True)


def _before_threads_are_joined(called: Callable[[int], None], status: int) -> None:
    # private, but concurrent.futures uses it: ``atexit`` handlers run only after all threads have been joined
    register: Callable[..., object] = getattr(threading, "_register_atexit", atexit.register)
    register(called, status)


def _exit(status: int) -> None:
    """End the process when the main thread has ended.

    twistd itself always ends with 0, and Python joins every thread that is no daemon and waits for all work of executors: a
    library's thread that waits for a name server would keep the process alive until the name server answers.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _tune_garbage_collection() -> None:
    """Collect cycles rarely: records make none, and each collection walks over every record in the queues."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
