"""Fair scheduling of reads: a vehicle's bytes are decrypted and handled for one quantum, then it is the others' turn.

All connections of a vehicle share one quantum. Once it is used up, their other bytes wait until the reactor has polled
every other socket, and their sockets are not read.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

QUANTUM_S = 0.004
"""Duration of a vehicle's turn; its last message may exceed it."""

QUANTUM_ALONE_S = 0.05
"""The same for the only connected vehicle: it delays only new connections, and each turn costs throughput."""


class Reader(Protocol):
    """A connection as a turn sees it."""

    def read_on(self) -> None:
        """Handle the waiting bytes; may end the turn again."""


class Turn:
    """The turn of one vehicle.

    :ivar left_s: rest of the quantum; connections subtract the time for decrypting bytes and handling messages.
    :ivar is_over: whether further bytes must wait (``wait``).
    """

    __slots__ = ("__weakref__", "_turns", "_waiting", "is_over", "left_s")

    def __init__(self, turns: Turns) -> None:
        self.left_s = QUANTUM_S
        self.is_over = False
        self._turns = turns
        self._waiting: deque[Reader] = deque()

    def end(self) -> None:
        """End the turn; the next one starts once the reactor has served others."""
        if not self.is_over:
            self.is_over = True
            self._turns.clock.callLater(0, self._begin)

    def wait(self, reader: Reader) -> None:
        """Let a reader continue in the next turn, after those that wait already."""
        self._waiting.append(reader)

    def _begin(self) -> None:
        if self._turns.others_wait():
            self._turns.clock.callLater(0, self._begin)
            return
        # time beyond the quantum is subtracted from the next turns
        quantum_s = self._turns.quantum_s
        self.left_s = min(quantum_s, self.left_s + quantum_s)
        self.is_over = False
        if self.left_s <= 0:
            self.end()
        while self._waiting and not self.is_over:
            self._waiting.popleft().read_on()


class Turns:
    """Turns by VIN. A turn lives as long as a connection of its vehicle, or until its next start.

    :ivar clock: the reactor.
    :ivar others_wait: returns whether the reactor has yet to read sockets that were ready when it last read any.
    """

    def __init__(self, clock: IReactorTime, others_wait: Callable[[], bool]) -> None:
        self.clock = clock
        self.others_wait = others_wait
        self._turns: WeakValueDictionary[str, Turn] = WeakValueDictionary()

    def of(self, vin: str) -> Turn:
        """Turn of a vehicle, which all of its connections share."""
        turn = self._turns.get(vin)
        if turn is None:
            turn = self._turns[vin] = Turn(self)
        return turn

    @property
    def quantum_s(self) -> float:
        """Duration of a turn that starts now."""
        return QUANTUM_S if len(self._turns) > 1 else QUANTUM_ALONE_S
