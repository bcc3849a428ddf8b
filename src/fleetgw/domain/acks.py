"""Ack policies: the condition under which a record of a type is acknowledged to its vehicle."""

from collections.abc import Iterator, Set
from typing import assert_never

from attrs import frozen


@frozen
class Accepted:
    """Acknowledge a record once the bounded queue of every routed sink has taken it."""


@frozen
class ConfirmedBy:
    """Acknowledge a record once this sink has confirmed it.

    :ivar sink: the name of a sink that the record's type is routed to.
    """

    sink: str


@frozen
class Spooled:
    """Acknowledge a record once it is synced to the spool's disk."""


@frozen
class AllOf:
    """Acknowledge a record once every part holds.

    :ivar parts: two or more.
    """

    parts: tuple["Condition", ...]


@frozen
class AnyOf:
    """Acknowledge a record once one part holds.

    :ivar parts: two or more.
    """

    parts: tuple["Condition", ...]


Condition = ConfirmedBy | Spooled | AllOf | AnyOf
"""A condition on the confirmations of sinks and of the spool. It is monotone: a further one never makes it false."""

AckPolicy = Accepted | Condition


def sinks_of(condition: Condition) -> Iterator[str]:
    """The names of sinks in a condition, from left to right; a name may come more than once."""
    match condition:
        case ConfirmedBy(sink):
            yield sink
        case Spooled():
            pass
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from sinks_of(part)
        case _:
            assert_never(condition)


def names_spool(policy: AckPolicy) -> bool:
    """Whether a policy waits, or may wait, for the spool."""
    match policy:
        case Spooled():
            return True
        case AllOf(parts) | AnyOf(parts):
            return any(map(names_spool, parts))
        case Accepted() | ConfirmedBy():
            return False
        case _:
            assert_never(policy)


def holds(condition: Condition, confirmed: Set[str], *, is_spooled: bool = False) -> bool:
    """Whether a condition holds once these sinks have confirmed a record, and the spool if it ``is_spooled``."""
    match condition:
        case ConfirmedBy(sink):
            return sink in confirmed
        case Spooled():
            return is_spooled
        case AllOf(parts):
            return all(holds(part, confirmed, is_spooled=is_spooled) for part in parts)
        case AnyOf(parts):
            return any(holds(part, confirmed, is_spooled=is_spooled) for part in parts)
        case _:
            assert_never(condition)


def joined(kind: type[AllOf] | type[AnyOf], parts: list[Condition]) -> Condition:
    """All or any of one or more parts, in the simplest form: nested conditions of the same kind become one, equal parts one.

    :raises ValueError: there is no part.
    """
    flat: dict[Condition, None] = {}
    for part in parts:
        flat |= dict.fromkeys(part.parts if isinstance(part, kind) else (part,))
    if not flat:
        raise ValueError("a condition needs a part")
    simple = tuple(flat)
    return kind(simple) if len(simple) > 1 else simple[0]
