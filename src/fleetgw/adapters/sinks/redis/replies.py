"""Error replies of Redis as outcomes."""

from __future__ import annotations

from hiredis import ReplyError

from fleetgw.domain.errors import DeliveryError, Rejected, Retryable

_TOO_LARGE = "ERR Protocol error: invalid bulk length"
"""The reply to an argument above ``proto-max-bulk-len``; the server closes the connection after it."""

_WRONG_TYPE = "WRONGTYPE"
"""The only other error that no retry helps. A missing permission, or a server that is loading, can be corrected."""


class Moved(Retryable):
    """Another node of the cluster has the vehicle's set now."""


class Misplaced(Retryable):
    """The server is a replica; another one is the master now."""


class LoggedOut(Misplaced):
    """The server asks for authentication again."""


def is_too_large(reply: object) -> bool:
    """Whether the server refuses an argument as too large, and will close the connection."""
    return isinstance(reply, ReplyError) and str(reply).startswith(_TOO_LARGE)


def outcome_of(reply: object) -> DeliveryError:
    """The outcome of a record whose command got this reply, an error."""
    text = str(reply)
    if text.startswith((_TOO_LARGE, _WRONG_TYPE)):
        return Rejected(text)
    if text.startswith(("MOVED", "ASK", "CLUSTERDOWN")):
        return Moved(text)
    if text.startswith("NOAUTH"):
        return LoggedOut(text)
    return Misplaced(text) if text.startswith("READONLY") else Retryable(text)
