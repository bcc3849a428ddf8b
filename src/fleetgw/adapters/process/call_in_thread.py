"""Calls a function on a thread of the reactor's pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorThreads

T = TypeVar("T")


def call_in_thread(reactor: IReactorThreads, called: Callable[[], T]) -> Deferred[T]:
    """Call a function on a thread; cancelling leaves the call alone."""
    answer: Deferred[T] = Deferred()

    def fire(result: T | Failure) -> None:
        if not answer.called:
            answer.callback(result)

    def call() -> None:
        result: T | Failure
        try:
            result = called()
        except Exception:  # of any kind: it becomes the Deferred's
            result = Failure()
        reactor.callFromThread(fire, result)

    reactor.callInThread(call)
    return answer
