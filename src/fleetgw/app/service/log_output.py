"""Destination and form of the log, from twistd's options and the configuration."""

import sys
from collections.abc import Callable, Mapping

from twisted.python.usage import UsageError

from fleetgw.adapters.logs.descriptor_stream import DescriptorStream
from fleetgw.adapters.logs.levels import LEVELS
from fleetgw.adapters.logs.lines import ILineStream, JsonLog, LineLog, TextLog
from fleetgw.adapters.logs.log_file import AppendedLogFile
from fleetgw.adapters.logs.terminal_lines import TerminalLog
from fleetgw.adapters.text.terminal import NO_COLOUR_VARIABLE

_ROTATE_LENGTH_BYTES = 100_000_000
_ROTATED_FILES_MAX = 10


def open_log_stream(parent_options: Mapping[str, object]) -> ILineStream:
    """Open the destination that twistd's own options ask for.

    Standard output with ``--logfile=-``, or with ``--nodaemon`` and no ``--logfile``; else the named file or ``twistd.log``.
    A file is rotated as twistd does (``twistd.log.1`` is the newest old one), but at 100 MB, and with at most ten old files:
    with records in the log, twistd's limit of 1 MB and its unlimited number of files would rename thousands of files on the
    reactor's thread. Other programs, such as logrotate, may rotate it as well.

    :param parent_options: twistd's options (``options.parent`` of the plugin's own).
    :raises UsageError: ``--logfile=-`` without ``--nodaemon``, or ``--syslog``.
    :raises OSError: the file cannot be opened.
    """
    if parent_options.get("syslog"):
        raise UsageError("--syslog: fleetgw does not write to syslog; use --logfile FILE, or -n to log to stdout")
    path = parent_options.get("logfile")
    nodaemon = bool(parent_options.get("nodaemon"))
    if path == "-" and not nodaemon:
        raise UsageError("--logfile=-: a daemon cannot log to stdout; add --nodaemon (-n), or name a file")
    if path == "-" or (nodaemon and not path):
        # opened now: later, twistd replaces sys.stdout by a writer of log events
        return DescriptorStream(sys.stdout.fileno())
    open_file: Callable[..., AppendedLogFile] = AppendedLogFile.fromFullPath  # untyped in Twisted
    return open_file(str(path or "twistd.log"), rotateLength=_ROTATE_LENGTH_BYTES, maxRotatedFiles=_ROTATED_FILES_MAX)


def make_log(log_level: str, *, json_log_enable: bool, stream: ILineStream, environ: Mapping[str, str]) -> LineLog:
    """Make the log of a configuration.

    :param log_level: ``trace``, ``debug``, ``info``, ``warn`` or ``error``.
    :param json_log_enable: JSON lines, else text; on a terminal in colour, unless ``NO_COLOR`` is in the environment.
    :param environ: environment variables.
    """
    if json_log_enable:
        log_type: type[LineLog] = JsonLog
    elif isinstance(stream, DescriptorStream) and stream.is_terminal and not environ.get(NO_COLOUR_VARIABLE):
        log_type = TerminalLog
    else:
        log_type = TextLog
    return log_type(stream, LEVELS[log_level])
