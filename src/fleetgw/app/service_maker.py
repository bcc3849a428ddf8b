"""What ``twistd fleetgw`` runs."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

from twisted.application.service import MultiService
from twisted.logger import ILogObserver
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from fleetgw.adapters.logs.null import NullLog
from fleetgw.adapters.logs.twisted_events import TwistedLogObserver
from fleetgw.app.composition import compose
from fleetgw.app.config import load_config, render_effective, render_problems
from fleetgw.app.log_output import make_log, open_log_stream
from fleetgw.app.memory_ceiling import with_ceiling
from fleetgw.app.service import GatewayService
from fleetgw.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.application.service import IService, IServiceCollection
    from twisted.internet.defer import Deferred

    from fleetgw.app.composition import IGatewayReactor
    from fleetgw.domain.errors import Problem


class Options(UsageOptions):
    """``twistd fleetgw --config FILE [--check]``."""

    synopsis = "[options]"
    longdesc = "Takes vehicles' telemetry in over mTLS WebSocket and hands it to the configured sinks."
    optParameters = [["config", "c", None, "The configuration, a JSON file; see docs/configuration.md."]]
    optFlags = [["check", None, "Check the configuration, print it as it takes effect, and exit: 0 if it can work, else 2."]]

    def postOptions(self) -> None:
        """``--config`` is needed. ``--check`` ends here, before twistd looks for a gateway that runs already."""
        if not self["config"]:
            raise UsageError("--config FILE: say which configuration to use")
        if self["check"]:
            sys.exit(check(Path(self["config"])))


def check(path: Path) -> int:
    """Do all that starting does short of starting: read and check the configuration, and make every part.

    Prints the effective configuration, secrets masked, on standard output; what is wrong with it on standard error.

    :return: 0 when the gateway would start, 2 when not.
    """
    try:
        loaded = load_config(path, os.environ)
        compose(loaded, _reactor(), NullLog())
    except ConfigurationError as error:
        _print_problems(error.problems, ())
        return 2
    _print_problems((), loaded.warnings)
    print(render_effective(with_ceiling(loaded.config)))
    return 0


def makeService(options: Options) -> IService:
    """Make the service of a configuration.

    Ends the process with status 2 and every problem on standard error when the configuration cannot work.
    """
    reactor = _reactor()
    try:
        loaded = load_config(Path(options["config"]), os.environ)
        stream = open_log_stream(options.parent or {})
        log = make_log(loaded.config.log_level, json_log_enable=loaded.config.json_log_enable, stream=stream)
        for warning in loaded.warnings:
            log.warn("configuration_warning", key=warning.path, warning=f"{warning.what}; {warning.fix}")
        parts = compose(loaded, reactor, log)
    except ConfigurationError as error:
        _print_problems(error.problems, ())
        sys.exit(2)
    except UsageError as error:
        _give_up(str(error))
    except OSError as error:
        _give_up(f"the log cannot be opened: {error}")
    except KeyboardInterrupt:  # loading the clients of some sinks takes seconds
        sys.exit(128 + signal.SIGINT)
    return _Process(TwistedLogObserver(log), GatewayService(parts, loaded.config, reactor), reactor)


def _reactor() -> IGatewayReactor:
    # twistd has installed the one that its --reactor names; importing it any earlier would install another
    from twisted.internet import reactor

    return cast("IGatewayReactor", reactor)


def _print_problems(problems: Sequence[Problem], warnings: Sequence[Problem]) -> None:
    if problems or warnings:
        print(render_problems(problems, warnings, colour=sys.stderr.isatty()), file=sys.stderr)


def _give_up(reason: str) -> NoReturn:
    print(reason, file=sys.stderr)
    sys.exit(2)


class _CannotStart(SystemExit, Exception):
    """Ends the process with status 1 and no traceback, as ``SystemExit`` does.

    It is an ``Exception`` for twistd's sake: of others, the parent of a daemon is not told, and waits for ever.
    """

    def __init__(self, error: ConfigurationError) -> None:
        super().__init__(1)
        self._problems = str(error)

    def __str__(self) -> str:
        return self._problems


class _Process(MultiService):
    """The gateway as a process: twistd's log observer is ours, and so are the signals and the exit status."""

    def __init__(self, observer: ILogObserver, gateway: GatewayService, reactor: IGatewayReactor) -> None:
        super().__init__()
        self._reactor = reactor
        self._observer = observer
        self._gateway = gateway
        gateway.setServiceParent(self)

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """``parent`` is twistd's application, which is asked for an observer before it makes one."""
        application: Any = parent  # a Componentized too, which its interface does not say
        application.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """A port that is taken ends the process with a line that says so, in place of a traceback."""
        try:
            super().privilegedStartService()
        except ConfigurationError as error:
            for problem in error.problems:
                self._gateway.log.error("cannot_start", key=problem.path, error=problem.what, fix=problem.fix)
            raise _CannotStart(error) from error

    def startService(self) -> None:
        """Start, and take over the signals once the reactor has set its own."""
        super().startService()
        _tune_garbage_collection()
        self._reactor.callWhenRunning(self._mind_signals)

    def _mind_signals(self) -> None:
        reactor, gateway = self._reactor, self._gateway

        def end(*_: object) -> None:
            reactor.callFromThread(gateway.end)

        # the reactor's own handlers would make twistd kill itself by the same signal; a stop that was asked for ends with 0
        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(gateway.reload_certificates))

    def stopService(self) -> Deferred[list[None]]:
        """Stop the gateway; a gateway that could not start makes itself heard in the exit status."""
        if self._gateway.exit_status:
            atexit.register(_leave, self._gateway.exit_status)
        stopped: Deferred[list[None]] = super().stopService()
        return stopped


def _leave(status: int) -> None:
    """End the process with ``status``: twistd itself always ends with 0."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _tune_garbage_collection() -> None:
    """Look for cycles rarely: records make none, and each look walks over every record that is under way."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
