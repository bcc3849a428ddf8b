"""Cuts long texts in log events, so that the length of a line is bounded, and masks secrets in those that may have any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.secrets.masking import masked

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_TEXT_LENGTH = 8192
"""Maximum characters of a text. Longer ones are cut in the middle: the end of a traceback says the most."""

UNCUT_FIELDS = frozenset({"payload_base64"})
"""Fields that are never cut: the line may be the last copy of a record."""

QUOTING_FIELDS = frozenset({"error", "text", "traceback", "reason", "warning"})
"""Fields whose texts may quote a client library, which quotes addresses with passwords."""


def cut_and_mask(fields: dict[str, object]) -> None:
    """Cut the long texts among the fields of an event, and mask secrets in ``QUOTING_FIELDS``, in place.

    Texts inside lists and objects are left as they are.
    """
    for name, value in fields.items():
        if not isinstance(value, str):
            continue
        if name in QUOTING_FIELDS:
            fields[name] = _cut(value, masked)
        elif len(value) > MAX_TEXT_LENGTH and name not in UNCUT_FIELDS:
            fields[name] = _cut(value, str)


def _cut(text: str, mask: Callable[[str], str]) -> str:
    """Cut a text where it is long.

    :param mask: gets thrice what is kept of either end: a secret at the cut must have the part by which it is found.
    """
    if len(text) <= MAX_TEXT_LENGTH:
        return mask(text)
    half = MAX_TEXT_LENGTH // 2
    head, tail = mask(text[: 3 * half])[:half], mask(text[-3 * half :])[-half:]
    return f"{head} ... ({len(text) - 2 * half} characters cut) ... {tail}"
