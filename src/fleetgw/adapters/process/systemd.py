"""Tells systemd the state of the process, as a service of ``Type=notify`` does (sd_notify), and feeds its watchdog."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from attrs import frozen

from fleetgw.adapters.text.terminal import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from twisted.internet.interfaces import IReactorTime

    from fleetgw.domain.ports import ILog

STATUS_EVERY_S = 10.0
"""Longest interval at which the text of ``systemctl status`` is brought up to date."""

STATUS_CHARACTERS = 500

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


@frozen
class Supervision:
    """The settings of the service manager that has started the process.

    :ivar address: its datagram socket: a path, or a name in the abstract namespace after ``@``.
    :ivar watchdog_s: it restarts a process that has sent no notification for so long; None for no watchdog.
    """

    address: str
    watchdog_s: float | None = None


def take_supervision(environ: MutableMapping[str, str], pid: int) -> Supervision | None:
    """The settings that the environment holds; None where there are none.

    The variables are removed, so that no child process inherits them.

    :param pid: of this process: a watchdog may be meant for another one.
    """
    address, watchdog_us, watched_pid = [environ.pop(name, "") for name in _VARIABLES]
    if not address:
        return None
    is_watched = watchdog_us.isdecimal() and int(watchdog_us) > 0 and watched_pid in ("", str(pid))
    return Supervision(address, int(watchdog_us) / 1e6 if is_watched else None)


class ServiceManager:
    """Sends notifications to systemd. Never blocks and never raises; does nothing without a ``Supervision``.

    The reactor sends those of the watchdog: while it is blocked, none is sent.
    """

    def __init__(self, supervision: Supervision | None, clock: IReactorTime, log: ILog) -> None:
        """:param clock: the reactor, on monotonic time."""
        self._supervision = supervision
        self._clock = clock
        self._log = log
        self._has_failed = False
        self._is_ready = False
        self._describe: Callable[[], str] = str
        self._status = ""

    def ready(self, describe: Callable[[], str]) -> None:
        """The service works: feed the watchdog from now on.

        :param describe: called every few seconds; returns the state in some words.
        """
        self._is_ready = True
        self._describe = describe
        self._send("READY=1", *self._changed_status())
        self._tell_later()

    def reloading(self) -> None:
        """The service reads its configuration again; does nothing unless it works."""
        if self._is_ready:
            self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.seconds() * 1e6)}")

    def reloaded(self) -> None:
        """The service has read its configuration; does nothing unless it works."""
        if self._is_ready:
            self._send("READY=1")

    def stopping(self, within_s: float) -> None:
        """The service stops.

        :param within_s: longest time for that; the service manager waits for so long.
        """
        self._is_ready = False
        self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(within_s * 1e6)}", *self._changed_status())

    def _tell_later(self) -> None:
        if self._supervision is not None:
            watchdog_s = self._supervision.watchdog_s or 2 * STATUS_EVERY_S
            self._clock.callLater(min(STATUS_EVERY_S, watchdog_s / 2), self._tell)

    def _tell(self) -> None:
        self._tell_later()
        watchdog = ["WATCHDOG=1"] if self._supervision is not None and self._supervision.watchdog_s is not None else []
        if told := [*watchdog, *self._changed_status()]:
            self._send(*told)

    def _changed_status(self) -> list[str]:
        """The assignment of the status if it is another one than before."""
        status = escaped(self._describe())[:STATUS_CHARACTERS]
        if status == self._status:
            return []
        self._status = status
        return [f"STATUS={status}"]

    def _send(self, *assignments: str) -> None:
        if self._supervision is None:
            return
        address = self._supervision.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)  # noqa: FBT003  positional only
                sender.sendto("\n".join(assignments).encode(), f"\0{address[1:]}" if address.startswith("@") else address)
        except (OSError, ValueError) as error:
            if not self._has_failed:
                self._log.warn("service_manager_not_reached", address=address, error=str(error))
            self._has_failed = True
        else:
            self._has_failed = False
