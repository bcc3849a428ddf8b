"""The reason codes (MQTT 5, 2.4) with which a broker refuses a publish, as outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.errors import Rejected, Retryable

if TYPE_CHECKING:
    from fleetgw.domain.errors import DeliveryError

_REJECTED_CODES = {0x90: "topic name invalid", 0x95: "packet too large", 0x99: "payload format invalid"}
"""Codes that no retry of the same message can avoid."""

_RETRYABLE_CODES = {
    0x80: "unspecified error",
    0x83: "implementation specific error",
    0x87: "not authorized",
    0x91: "packet identifier in use",
    0x97: "quota exceeded",
}
"""Codes that an operator can act on, or that pass with time."""


def refusal(code: int) -> DeliveryError:
    """The outcome of a record when the broker refuses one of its publishes with this code."""
    if code in _REJECTED_CODES:
        return Rejected(f"the broker refuses it: {_REJECTED_CODES[code]}")
    return Retryable(f"the broker does not take it: {_RETRYABLE_CODES.get(code, f'reason code {code:#04x}')}")
