"""The error tree, by the party at fault.

``PeerError``: the vehicle sent something wrong. ``DeliveryError``: a sink could not take a record. ``StorageError``: the
spool could not store or read records.
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


class Unrouted(PeerError):
    """The record's type has no route, and such records are refused. Answered with an error reply."""


class OtherSender(PeerError):
    """A record of an unrouted type names another sender than the certificate. Answered with an error reply."""


class Unauthorized(PeerError):
    """The certificate gives no identity that may stream telemetry. ``str()`` is the reason."""


class UnusableAllowList(FleetgwError):
    """The source of the allow list cannot be reached, or gives no list. ``str()`` is the reason, for the operator."""


class DeliveryError(FleetgwError):
    """A record did not reach its destination. ``str()`` is the reason, for the operator."""


def forget_frames(error: BaseException) -> None:
    """Drop an error's traceback and causes: their frames refer to the batch, and the batch holds the error."""
    error.__traceback__ = error.__cause__ = error.__context__ = None


class Retryable(DeliveryError):
    """The record is to be retried: throttling, a full local queue, a missing topic, a broker failover.

    It blocks later records with its ordering key, and no others.
    """


class NotConnected(Retryable):
    """The destination as a whole cannot be reached, or the sink is not running: all records wait."""


class Rejected(DeliveryError):
    """The destination refuses this record for good (too large, invalid): a dead letter, as no retry can deliver it."""


class Unheard(Rejected):
    """The destination passes records on without storing them, and this one had no subscriber.

    It is neither delivered nor retried, and it is no dead letter, as nothing is wrong. A vehicle that waits for the
    acknowledgement sends it again.
    """


class StorageError(FleetgwError):
    """The spool could not store or read records: disk full, I/O error. ``str()`` is the reason, for people.

    Records that were not stored are not acknowledged, so that vehicles send them again. Try again later.
    """


class SpoolFull(StorageError):
    """The spool holds as much as it may, or too many records wait to be synced."""


@frozen
class Problem:
    """One fault of a configuration.

    :ivar path: its place, such as ``records.V[1]``; empty for the file as a whole.
    :ivar what: the fault.
    :ivar fix: the remedy.
    """

    path: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path or '(file)'}: {self.what}; {self.fix}"


class ConfigurationError(FleetgwError):
    """The configuration cannot work. Carries every problem found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)
