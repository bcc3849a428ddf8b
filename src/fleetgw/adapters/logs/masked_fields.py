"""Masks secrets in the texts of log events: client libraries quote addresses with passwords."""

from __future__ import annotations

from fleetgw.adapters.secrets.masking import masked

QUOTING_FIELDS = ("error", "text", "traceback", "reason", "warning")
"""Fields whose texts may quote a library."""


def mask_secrets(fields: dict[str, object]) -> None:
    """Mask the secrets in the fields of an event, in place.

    :param fields: their long texts have been cut: the search of some kilobytes takes milliseconds.
    """
    for name in QUOTING_FIELDS:
        text = fields.get(name)
        if isinstance(text, str):
            fields[name] = masked(text)
