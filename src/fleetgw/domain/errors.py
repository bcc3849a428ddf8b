"""The error tree: whose fault it is decides the branch.

``PeerError``: the vehicle sent something wrong. ``DeliveryError``: a sink could not take a record.
``ConfigurationError``: the operator's configuration cannot work. Adapters translate their library's exceptions into
this tree (``raise ... from``).
"""

from collections.abc import Sequence

from attrs import frozen


class FleetgwError(Exception):
    """Root of every error that fleetgw raises on purpose."""


class PeerError(FleetgwError):
    """The vehicle's fault; the connection may live on.

    :ivar bound: the bound that was exceeded, one of a closed set: it is a metric's label. None for any other fault.
    """

    def __init__(self, what: str, *, bound: str | None = None) -> None:
        super().__init__(what)
        self.bound = bound


class MalformedEnvelope(PeerError):
    """The message is no readable envelope. Answered with an error reply whose txid is empty."""


class MalformedPayload(PeerError):
    """The payload does not parse as its record type, or cannot be written as JSON. Answered with an error reply."""


class MessageTooBig(PeerError):
    """The message is longer than ``limits.max_message_bytes``. Answered with an error reply whose txid is empty."""


class UnknownMessageType(PeerError):
    """The envelope holds no Stream message. Acknowledged without a record type, so that the vehicle does not send it again.

    :ivar message_type: the envelope's union tag.
    """

    def __init__(self, message_type: int) -> None:
        super().__init__(f"no stream message: union tag {message_type}")
        self.message_type = message_type


class OtherSender(PeerError):
    """A record of an unrouted type names another sender than the certificate. Answered with an error reply."""


class Unauthorized(PeerError):
    """The certificate gives no identity that may stream telemetry. ``str()`` says why."""


class DeliveryError(FleetgwError):
    """A record did not reach its destination. ``str()`` is the reason, for people."""


def forget_frames(error: BaseException) -> None:
    """Drop an error's traceback and causes: their frames refer to the batch, and the batch holds the error."""
    error.__traceback__ = error.__cause__ = error.__context__ = None


class Retryable(DeliveryError):
    """Try the same record again later: throttling, local queue full, missing topic, broker fail-over.

    Later records of its vehicle and record type wait for it; others do not.
    """


class NotConnected(Retryable):
    """The destination as a whole cannot be reached, or the sink is not started or already stopped: all records wait."""


class Rejected(DeliveryError):
    """The destination refuses this record for good (too large, invalid); trying again cannot help."""


class Unheard(Rejected):
    """The destination passes records on without keeping them, and nobody was there to get this one.

    Not delivered, and nothing is wrong: it is neither retried nor a dead letter. A vehicle that waits for the
    acknowledgement sends it again.
    """


@frozen
class Problem:
    """One thing wrong in a configuration.

    :ivar path: where, as in ``records.V[1]``; empty for the file as a whole.
    :ivar what: what is wrong.
    :ivar fix: what would be right.
    """

    path: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path or '(file)'}: {self.what}; {self.fix}"


class ConfigurationError(FleetgwError):
    """The configuration cannot work. Carries every problem found, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)
