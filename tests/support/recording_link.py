"""The link of a session in tests, which keeps all replies."""

from collections.abc import Sequence

from zope.interface import implementer

from fleetgw.adapters.ingress.replies import ReplyFrames
from fleetgw.domain.ports import IVehicleLink
from fleetgw.domain.records import Record


@implementer(IVehicleLink)
class Link:
    """Keeps the frames of all replies.

    :ivar sent: each reply, framed, in order.
    :ivar is_paused: whether reading is paused.
    """

    def __init__(self) -> None:
        self.is_paused = False
        self.sent: list[bytes] = []
        self._frames = ReplyFrames()

    def acknowledge(self, records: Sequence[Record]) -> None:
        """See ``IVehicleLink``."""
        self.sent.append(self._frames.acks(records))

    def acknowledge_unknown(self, txid: bytes) -> None:
        """See ``IVehicleLink``."""
        self.sent.append(self._frames.ack("", txid))

    def reply_error(self, txid: bytes) -> None:
        """See ``IVehicleLink``."""
        self.sent.append(self._frames.error(txid))

    def pause_reading(self) -> None:
        """See ``IVehicleLink``."""
        if self.is_paused:
            raise AssertionError("paused twice")
        self.is_paused = True

    def resume_reading(self) -> None:
        """See ``IVehicleLink``."""
        if not self.is_paused:
            raise AssertionError("resumed twice")
        self.is_paused = False

    def close(self, reason: str) -> None:
        """Fail: no test of the pipeline closes its link."""
        raise AssertionError(f"closed: {reason}")
