"""Keys that a section does not have: comments and misspelled keys."""

import re

from fleetgw.adapters.settings.spelling import did_you_mean, is_it, quoted
from fleetgw.adapters.settings.values import Settings

_REMARKS = frozenset({"comment", "comments", "description", "note", "notes", "readme", "$comment"})

COMMENT_PATTERN = "^(_|//)"


def is_comment(key: str) -> bool:
    """Whether a key is a comment: JSON has no syntax for comments."""
    return re.match(COMMENT_PATTERN, key) is not None


def advice(kind: type[Settings], key: str, known: frozenset[str]) -> str:
    """Advice on an unknown key.

    :param kind: the section that contains it.
    :param known: the section's keys.
    """
    name = key.lower()
    if near := kind.near_keys.get(name):
        return is_it(near)
    if name in _REMARKS:
        return f"write {quoted(['_' + key])}: a key that begins with _ or // is a comment"
    return did_you_mean(key, known)
