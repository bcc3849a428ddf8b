"""The newest lines of the gateway's log, for a bug report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen
from twisted.web import http

from fleetgw.adapters.logs.recent_lines import MAX_LINES
from fleetgw.adapters.monitoring.pages import Answer, PageRefusal
from fleetgw.adapters.process.call_in_thread import call_in_thread
from fleetgw.adapters.secrets.masking import masked
from fleetgw.app.config.showing import secrets_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorThreads

    from fleetgw.adapters.monitoring.pages import PageRequest
    from fleetgw.app.config.sections import Config


@frozen
class LogLines:
    """Shows the newest lines.

    :ivar newest: returns at most so many lines, oldest first; None where the log belongs to the program around the gateway.
    :ivar config: returns the configuration in effect.
    """

    newest: Callable[[int], list[bytes]] | None
    config: Callable[[], Config]
    reactor: IReactorThreads

    def page(self, request: PageRequest) -> Deferred[Answer]:
        """As many of the newest lines as the parameter ``lines`` says, secrets masked.

        :raises PageRefusal: the parameter is no such number, or the gateway has no log of its own.
        """
        count = request.whole("lines", MAX_LINES, MAX_LINES)
        if self.newest is None:
            fix = "look into the log of the program that the gateway runs in"
            raise PageRefusal("this gateway has no log of its own", fix, http.NOT_FOUND)
        lines, secrets = self.newest(count), secrets_in(self.config())

        def text() -> Answer:  # on a thread: megabytes take too long for the reactor's
            return Answer("".join(masked(line.decode("utf-8", "replace"), secrets) for line in lines).encode())

        return call_in_thread(self.reactor, text)
