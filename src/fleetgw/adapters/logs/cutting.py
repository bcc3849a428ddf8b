"""Long texts in log events: whoever sent them, a line stays of bounded length."""

MAX_TEXT_LENGTH = 8192
"""Longer texts are cut in the middle: a traceback says the most at its end."""

WHOLE = frozenset({"payload_base64"})
"""Fields that are never cut: the line may be the last copy of what is in them."""


def cut_long_texts(fields: dict[str, object]) -> None:
    """Cut the fields of an event that are long texts, in place. What is inside lists and objects stays whole."""
    for name, value in fields.items():
        if isinstance(value, str) and len(value) > MAX_TEXT_LENGTH and name not in WHOLE:
            half = MAX_TEXT_LENGTH // 2
            fields[name] = f"{value[:half]} ... ({len(value) - 2 * half} characters cut) ... {value[-half:]}"
