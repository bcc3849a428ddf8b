"""Cuts long texts in log events, so that the length of a line is bounded."""

MAX_TEXT_LENGTH = 8192
"""Maximum characters of a text. Longer ones are cut in the middle: the end of a traceback says the most."""

UNCUT_FIELDS = frozenset({"payload_base64"})
"""Fields that are never cut: the line may be the last copy of a record."""


def cut_long_texts(fields: dict[str, object]) -> None:
    """Cut the long texts among the fields of an event, in place. Texts inside lists and objects are not cut."""
    for name, value in fields.items():
        if isinstance(value, str) and len(value) > MAX_TEXT_LENGTH and name not in UNCUT_FIELDS:
            half = MAX_TEXT_LENGTH // 2
            fields[name] = f"{value[:half]} ... ({len(value) - 2 * half} characters cut) ... {value[-half:]}"
