"""Makes the service that ``twistd fleetgw`` runs, from the command line."""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from fleetgw.adapters.logs.null import NullLog
from fleetgw.adapters.process.reactor import call_readers_directly, leave_busy_threads_behind, run_on_monotonic_time
from fleetgw.adapters.process.systemd import take_supervision
from fleetgw.adapters.text.terminal import has_colours
from fleetgw.app.config import ConfigurationFile, load_config, render_effective, render_problems
from fleetgw.app.service import early_signals
from fleetgw.app.service.composition import compose
from fleetgw.app.service.descriptors import raise_descriptor_limit
from fleetgw.app.service.inherited_sockets import announced_descriptors, inherited_sockets
from fleetgw.app.service.life import GatewayLife
from fleetgw.app.service.log_output import make_log, open_log_stream
from fleetgw.app.service.memory_ceiling import with_ceiling
from fleetgw.app.service.pid_file import choose_pid_file
from fleetgw.app.service.process import GatewayProcess
from fleetgw.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.application.service import IService

    from fleetgw.app.service.composition import IGatewayReactor
    from fleetgw.domain.errors import Problem


class Options(UsageOptions):
    """``twistd fleetgw --config FILE [--check]``."""

    synopsis = "[options]"
    longdesc = "Takes vehicles' telemetry in over mTLS WebSocket and hands it to the configured sinks."
    optParameters = [["config", "c", None, "The configuration, a JSON file; see docs/configuration.md."]]
    optFlags = [["check", None, "Check the configuration, print it as it takes effect, and exit: 0 if it can work, else 2."]]

    def postOptions(self) -> None:
        """``--config`` is required. ``--check`` ends here, before twistd looks at the pid file."""
        if not self["config"]:
            raise UsageError("--config FILE: say which configuration to use")
        if self["check"]:
            early_signals.stop_listening()
            sys.exit(check(Path(self["config"])))
        try:
            choose_pid_file({} if self.parent is None else self.parent, sys.argv)
        except UsageError as error:
            _give_up(str(error))


def check(path: Path) -> int:
    """Read and check the configuration and make every part, as a start does, but start nothing.

    Prints the effective configuration on standard output, secrets masked, and problems and warnings on standard error.

    :return: 0 when the gateway would start, 2 when not.
    """
    try:
        loaded = load_config(path, os.environ)
        compose(loaded, _reactor(), NullLog())
    except ConfigurationError as error:
        _print_problems(error.problems, ())
        return 2
    _print_problems((), loaded.warnings)
    try:
        print(render_effective(with_ceiling(loaded.config)), flush=True)
    except BrokenPipeError:
        sys.stderr.close()  # the reader, such as ``head``, has seen enough
    return 0


def makeService(options: Options) -> IService:
    """Make the service of a configuration.

    Ends the process with status 2 and every problem on standard error when the configuration cannot work.
    """
    reactor = _reactor()
    raise_descriptor_limit()
    supervision = take_supervision(os.environ, os.getpid())
    if supervision is not None and supervision.watchdog_s is not None:
        faulthandler.enable()  # the watchdog aborts a process that hangs: this shows where
    try:
        source = ConfigurationFile(Path(options["config"]).absolute(), os.environ, Path.cwd())
        loaded = load_config(Path(options["config"]), os.environ)
        stream = open_log_stream(options.parent or {})
        log = make_log(
            loaded.config.log_level, json_log_enable=loaded.config.json_log_enable, stream=stream, environ=os.environ
        )
        for warning in loaded.warnings:
            log.warn("configuration_warning", key=warning.path, warning=f"{warning.what}; {warning.fix}")
        parts = compose(loaded, reactor, log)
        inherited = inherited_sockets(announced_descriptors())
    except ConfigurationError as error:
        _print_problems(error.problems, ())
        sys.exit(2)
    except UsageError as error:
        _give_up(str(error))
    except OSError as error:
        _give_up(f"the log cannot be opened: {error}")
    except KeyboardInterrupt:  # importing the client libraries of some sinks takes seconds
        sys.exit(early_signals.INTERRUPTED)
    life = GatewayLife(parts, reactor, log)
    return GatewayProcess(life, source, log, stream, reactor, options.parent or {}, inherited, supervision)


def _reactor() -> IGatewayReactor:
    # twistd has installed the one that --reactor names; an import any earlier would install another
    from twisted.internet import reactor

    run_on_monotonic_time(reactor)
    call_readers_directly(reactor)
    leave_busy_threads_behind(reactor)
    return cast("IGatewayReactor", reactor)


def _print_problems(problems: Sequence[Problem], warnings: Sequence[Problem]) -> None:
    if problems or warnings:
        print(render_problems(problems, warnings, colour=has_colours(sys.stderr, os.environ)), file=sys.stderr)


def _give_up(reason: str) -> NoReturn:
    print(reason, file=sys.stderr)
    sys.exit(2)
