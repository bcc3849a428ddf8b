"""Turns of reading: one vehicle's bytes are decrypted and handled for some milliseconds, then other vehicles are served.

All connections of a vehicle share one quantum. Once it is used up, their other bytes wait until the reactor has looked at
every other socket, and their sockets are not read.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

QUANTUM_S = 0.004
"""Seconds of a vehicle's turn; its last message may exceed it."""

QUANTUM_ALONE_S = 0.05
"""The same for the only vehicle that is connected: it delays new connections alone, and turns cost it throughput."""


class Reader(Protocol):
    """A connection as a turn sees it."""

    def read_on(self) -> None:
        """Handle the bytes that wait; may end the turn again."""


class Turn:
    """One vehicle's time.

    :ivar left_s: of the quantum; a connection subtracts the time that it took to decrypt bytes and handle messages.
    :ivar is_over: further bytes must wait (``wait``).
    """

    __slots__ = ("__weakref__", "_turns", "_waiting", "is_over", "left_s")

    def __init__(self, turns: Turns) -> None:
        self.left_s = QUANTUM_S
        self.is_over = False
        self._turns = turns
        self._waiting: deque[Reader] = deque()

    def end(self) -> None:
        """The quantum is used up: begin the next turn once the reactor has served others."""
        if not self.is_over:
            self.is_over = True
            self._turns.clock.callLater(0, self._begin)

    def wait(self, reader: Reader) -> None:
        """Have a reader read on in the next turn, behind those that wait already."""
        self._waiting.append(reader)

    def _begin(self) -> None:
        # time that a turn took beyond its quantum is subtracted from the next ones
        quantum_s = self._turns.quantum_s
        self.left_s = min(quantum_s, self.left_s + quantum_s)
        self.is_over = False
        if self.left_s <= 0:
            self.end()
        while self._waiting and not self.is_over:
            self._waiting.popleft().read_on()


class Turns:
    """VIN -> ``Turn``, for as long as there is a connection of that vehicle or its turn is over."""

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self._turns: WeakValueDictionary[str, Turn] = WeakValueDictionary()

    def of(self, vin: str) -> Turn:
        """A vehicle's turn, the same for all of its connections."""
        turn = self._turns.get(vin)
        if turn is None:
            turn = self._turns[vin] = Turn(self)
        return turn

    @property
    def quantum_s(self) -> float:
        """Seconds of a turn that begins now."""
        return QUANTUM_S if len(self._turns) > 1 else QUANTUM_ALONE_S
