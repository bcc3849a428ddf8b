"""When a record may be acknowledged."""

from attrs import frozen


@frozen
class Accepted:
    """Once every routed sink has taken the record into its bounded queue."""


@frozen
class ConfirmedBy:
    """Once every routed sink has taken the record and this one has confirmed it.

    :ivar sink: the name of a sink that the record's type is routed to.
    """

    sink: str


AckPolicy = Accepted | ConfirmedBy
