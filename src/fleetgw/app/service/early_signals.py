"""Handles signals from the beginning of the process, before the gateway has loaded.

Python does nothing about SIGTERM, SIGHUP and SIGUSR1 by itself: the kernel then ends the process on a SIGHUP, and ignores a
SIGTERM where the process is the first of a container. Loading the clients of some sinks takes seconds.
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

_kept: list[Signals] = []


def listen() -> None:
    """From now on SIGTERM and SIGINT end the process at once, as nothing has begun; the others wait for ``hand_over``."""
    for number in _SIGNALS:
        signal.signal(number, _heard)


def _heard(number: int, _frame: FrameType | None) -> None:
    # at once: an exception here would come up inside whatever module is being imported
    if number == SIGTERM:
        os._exit(0)
    if number == SIGINT:
        os._exit(INTERRUPTED)
    _kept.append(Signals(number))


def stop_listening() -> None:
    """Have signals do what they do to any program."""
    for number in _SIGNALS:
        signal.signal(number, signal.default_int_handler if number == SIGINT else signal.SIG_DFL)


def hand_over(receivers: Mapping[Signals, Callable[[], object]]) -> None:
    """Have each signal call its receiver, on the main thread between any two instructions; those that were kept, now."""

    def receive(number: int, _frame: FrameType | None) -> None:
        receivers[Signals(number)]()

    for number in receivers:
        signal.signal(number, receive)
    kept = [number for number in _kept if number in receivers]
    _kept.clear()
    for number in kept:
        receivers[number]()
