"""Waiting for a Deferred, with a deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

T = TypeVar("T")


def with_deadline(deadline_s: float, awaited: Deferred[T], clock: IReactorTime) -> Deferred[T | None]:
    """Wait for a Deferred until a deadline, then cancel it.

    Unlike ``Deferred.addTimeout``, this ends at the deadline even when ``awaited`` ignores its cancellation.

    :param deadline_s: time of ``clock``. After the deadline, too, a Deferred that has fired already gives its result.
    :return: fires as ``awaited`` does, or with None at the deadline.
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
