"""The recent refusals as JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetgw.domain.recent_refusals import RecentRefusals


def refusals_view(recent: RecentRefusals) -> Mapping[str, object]:
    """The last refusals, newest first; text that is not known is None."""
    return {
        "refusals": [
            {
                "at_ms": each.at_ms,
                "kind": each.kind.value,
                "reason": each.reason,
                "text": each.text,
                "fix": each.fix or None,
                "address": each.address or None,
                "vin": each.vin or None,
                "issuer": each.issuer or None,
                "not_after_ms": each.not_after_ms,
                "times": each.times,
            }
            for each in recent.newest_first
        ]
    }
