"""Handles signals from the start of the process on, before the gateway's modules are imported.

Python installs no handlers for SIGTERM, SIGHUP and SIGUSR1: the kernel then ends the process on SIGHUP, and ignores SIGTERM
where the process is the first one of a container. Importing the client libraries of some sinks takes seconds.
"""

from __future__ import annotations

import os
import signal
from signal import SIGHUP, SIGINT, SIGTERM, SIGUSR1, Signals
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

INTERRUPTED = 128 + SIGINT
_SIGNALS = (SIGTERM, SIGINT, SIGHUP, SIGUSR1)

_pending: list[Signals] = []


def listen() -> None:
    """From now on, SIGTERM and SIGINT end the process at once, as nothing has started; others wait for ``hand_over``."""
    for number in _SIGNALS:
        signal.signal(number, _received)


def _received(number: int, _frame: FrameType | None) -> None:
    # an exception here would be raised inside the module that is being imported
    if number == SIGTERM:
        os._exit(0)
    if number == SIGINT:
        os._exit(INTERRUPTED)
    _pending.append(Signals(number))


def stop_listening() -> None:
    """Restore the default handlers."""
    for number in _SIGNALS:
        signal.signal(number, signal.default_int_handler if number == SIGINT else signal.SIG_DFL)


def hand_over(receivers: Mapping[Signals, Callable[[], object]]) -> None:
    """Have each signal call its receiver, on the main thread between any two instructions; pending ones do so now."""

    def receive(number: int, _frame: FrameType | None) -> None:
        receivers[Signals(number)]()

    for number in receivers:
        signal.signal(number, receive)
    pending = [number for number in _pending if number in receivers]
    _pending.clear()
    for number in pending:
        receivers[number]()
