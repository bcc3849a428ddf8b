"""Suggestions for misspelled names."""

import difflib
import json
from collections.abc import Collection, Iterable


def quoted(names: Iterable[str]) -> str:
    """Names for a sentence: ``"a", "b"``."""
    return ", ".join(json.dumps(name) for name in names)


def closest(name: str, known: Collection[str], count: int, similarity: float = 0.6) -> list[str]:
    """The known names similar to ``name``, the closest first; case does not matter.

    :param count: the maximum.
    :param similarity: the minimum, from 0 to 1.
    """
    by_lower_case = {each.lower(): each for each in known}
    return [by_lower_case[match] for match in difflib.get_close_matches(name.lower(), by_lower_case, count, similarity)]


def nearest(name: str, known: Collection[str], similarity: float = 0.6) -> str | None:
    """The known name closest to ``name``, or None when none is similar."""
    return next(iter(closest(name, known, 1, similarity)), None)


def is_it(name: str) -> str:
    """A suggestion as a question."""
    return f"did you mean {quoted([name])}?"


def did_you_mean(name: str, known: Collection[str], otherwise: str | None = None) -> str:
    """Advice on an unknown name: the closest known one.

    :param otherwise: the advice when none is similar; by default, the list of the known names.
    """
    near = nearest(name, known)
    if near:
        return is_it(near)
    return f"known: {quoted(sorted(known))}" if otherwise is None else otherwise
