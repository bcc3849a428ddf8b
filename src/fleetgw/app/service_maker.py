"""What ``twistd fleetgw`` runs."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from twisted.application.service import MultiService
from twisted.logger import ILogObserver
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from fleetgw.adapters.logs.twisted_events import TwistedLogObserver
from fleetgw.app.composition import compose
from fleetgw.app.config import load_config
from fleetgw.app.log_output import make_log, open_log_stream
from fleetgw.app.service import GatewayService
from fleetgw.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from twisted.application.service import IService, IServiceCollection

    from fleetgw.app.composition import IGatewayReactor


class Options(UsageOptions):
    """``twistd fleetgw --config FILE [--check]``."""

    synopsis = "[options]"
    longdesc = "Takes vehicles' telemetry in over mTLS WebSocket and hands it to the configured sinks."
    optParameters = [["config", "c", None, "The configuration, a JSON file; see docs/configuration.md."]]
    optFlags = [["check", None, "Check the configuration, print it as it takes effect, and exit."]]

    def postOptions(self) -> None:
        """``--config`` is needed."""
        if not self["config"]:
            raise UsageError("--config FILE: say which configuration to use")


class _LoggedService(MultiService):
    """Hands twistd our log observer in place of its own, and minds the signals."""

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
            sys.exit(1)

    def startService(self) -> None:
        """Start, and take over the signals once the reactor has set its own."""
        super().startService()
        self._reactor.callWhenRunning(self._mind_signals)

    def _mind_signals(self) -> None:
        reactor = self._reactor

        def stop(*_: object) -> None:
            reactor.callFromThread(self._stop_once)

        # the reactor's own handlers would make twistd kill itself by the same signal; a stop that was asked for ends with 0
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(self._gateway.reload_certificates))

    def _stop_once(self) -> None:
        if self.running:
            self._reactor.stop()


def makeService(options: Options) -> IService:
    """Make the service of a configuration.

    Ends the process with status 2 and every problem on standard error when the configuration cannot work.
    """
    from twisted.internet import reactor as installed

    reactor = cast("IGatewayReactor", installed)
    try:
        loaded = load_config(Path(options["config"]), os.environ)
        stream = open_log_stream(options.parent or {})
        log = make_log(loaded.config.log_level, json_log_enable=loaded.config.json_log_enable, stream=stream)
        for warning in loaded.warnings:
            log.warn("configuration_warning", key=warning.path, warning=f"{warning.what}; {warning.fix}")
        parts = compose(loaded, reactor, log)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    return _LoggedService(TwistedLogObserver(log), GatewayService(parts, loaded.config, reactor), reactor)
