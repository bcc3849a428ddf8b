"""Waiting with an end."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

T = TypeVar("T")


def given_until(deadline_s: float, awaited: Deferred[T], clock: IReactorTime) -> Deferred[T | None]:
    """Wait for a Deferred, but not beyond a deadline.

    Unlike ``Deferred.addTimeout`` this needs no cooperation: what ignores being cancelled is left alone.

    :param deadline_s: by ``clock``; one that has passed still grants what has fired already.
    :return: fires as ``awaited`` does; with None at the deadline, and ``awaited`` is cancelled.
    """
    over: Deferred[T | None] = Deferred()

    def late() -> None:
        awaited.cancel()
        over.callback(None)

    timer = clock.callLater(max(0.0, deadline_s - clock.seconds()), late)

    def done(result: T | Failure) -> None:
        if timer.active():
            timer.cancel()
            over.callback(result)

    awaited.addBoth(done)
    return over
