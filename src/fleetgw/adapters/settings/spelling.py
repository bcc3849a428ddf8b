"""Advice on a name that is unknown: the known name that it is probably meant to be."""

import difflib
import json
from collections.abc import Collection, Iterable


def quoted(names: Iterable[str]) -> str:
    """Names as in a sentence: ``"a", "b"``."""
    return ", ".join(json.dumps(name) for name in names)


def nearest(name: str, known: Collection[str], likeness: float = 0.6) -> str | None:
    """The known name that ``name`` is probably meant to be, or None.

    :param likeness: how much of the two must agree, from 0 to 1.
    """
    by_lower_case = {each.lower(): each for each in known}
    matches = difflib.get_close_matches(name.lower(), by_lower_case, 1, likeness)
    return by_lower_case[matches[0]] if matches else None


def is_it(name: str) -> str:
    """The question whether a name is meant."""
    return f"did you mean {quoted([name])}?"


def did_you_mean(name: str, known: Collection[str], otherwise: str | None = None) -> str:
    """Advice on an unknown name: the nearest known one.

    :param otherwise: the advice where none is near; default: the list of the known names.
    """
    near = nearest(name, known)
    if near:
        return is_it(near)
    return f"known: {quoted(sorted(known))}" if otherwise is None else otherwise
