"""Cuts long texts in log events, so that the length of a line is bounded."""

MAX_TEXT_LENGTH = 8192
"""Longer texts are cut in the middle: a traceback says the most at its end."""

WHOLE = frozenset({"payload_base64"})
"""Fields that are never cut: the line may be the last copy of what is in them."""


def cut_long_texts(fields: dict[str, object]) -> None:
    """Cut the fields of an event that are long texts, in place. Texts inside lists and objects stay whole."""
    for name, value in fields.items():
        if isinstance(value, str) and len(value) > MAX_TEXT_LENGTH and name not in WHOLE:
            half = MAX_TEXT_LENGTH // 2
            fields[name] = f"{value[:half]} ... ({len(value) - 2 * half} characters cut) ... {value[-half:]}"
