"""Masks secrets in the texts of warnings and errors: client libraries quote addresses with passwords."""

from __future__ import annotations

from fleetgw.adapters.secrets.masking import masked

QUOTING_FIELDS = ("error", "text", "traceback", "reason", "warning")
"""Fields whose texts may quote a library."""

_MASKED_CHARACTERS = 2_000
"""Longest line of a text in which secrets are searched: those of client libraries are shorter."""


def mask_secrets(fields: dict[str, object]) -> None:
    """Mask the secrets in the fields of a warning or an error, in place."""
    for name in QUOTING_FIELDS:
        text = fields.get(name)
        if isinstance(text, str):
            fields[name] = _masked(text)


def _masked(text: str) -> str:
    if len(text) <= _MASKED_CHARACTERS:
        return masked(text)
    return "\n".join(masked(line) if len(line) <= _MASKED_CHARACTERS else line for line in text.split("\n"))
