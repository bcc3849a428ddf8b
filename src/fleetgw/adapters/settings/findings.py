"""What is found while a configuration is read, and the world that it is read in."""

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path

from attrs import define, field, frozen

from fleetgw.adapters.masking import masked
from fleetgw.domain.errors import Problem


@frozen
class Surroundings:
    """What a configuration's meaning depends on besides its text.

    :ivar environ: the environment variables.
    :ivar base_dir: the folder that relative paths start from.
    :ivar now: the time, for the expiry of certificates.
    :ivar available_sinks: the built-in sinks that may be routed to.
    :ivar installed_sinks: the names of third parties' sinks that are installed (entry points).
    """

    environ: Mapping[str, str]
    base_dir: Path
    now: datetime
    available_sinks: frozenset[str]
    installed_sinks: frozenset[str]


@define
class Findings:
    """Collects problems and warnings, in the order found."""

    problems: list[Problem] = field(factory=list)
    warnings: list[Problem] = field(factory=list)
    _unusable: list[str] = field(factory=list)
    _secrets: set[str] = field(factory=set)

    def refuse(self, path: str, what: str, fix: str) -> None:
        """Note something that the gateway cannot start with."""
        self.problems.append(Problem(path, masked(what, self._secrets), masked(fix, self._secrets)))

    def refuse_value(self, path: str, what: str, fix: str) -> None:
        """As ``refuse``, for a value that could not be read at all: whatever builds on it is not to be checked."""
        self.refuse(path, what, fix)
        self._unusable.append(path)

    def warn(self, path: str, what: str, fix: str) -> None:
        """Note something that the gateway starts with, but that somebody should look at."""
        self.warnings.append(Problem(path, masked(what, self._secrets), masked(fix, self._secrets)))

    def hide(self, secret: str) -> None:
        """Have nothing that is found from now on show this secret."""
        self._secrets.add(secret)

    def refuses(self, path: str) -> bool:
        """Whether something at ``path`` or in it has been refused."""
        return any(_within(problem.path, path) for problem in self.problems)

    def usable(self, path: str) -> bool:
        """Whether the value at ``path``, everything in it and everything it is in could be read."""
        return not any(_within(other, path) or _within(path, other) for other in self._unusable)


def _within(inner: str, outer: str) -> bool:
    return inner == outer or not outer or inner.startswith((outer + ".", outer + "["))


def member(path: str, key: str) -> str:
    """The path of a member: ``tls.ca_file``, or ``kafka["acks.x"]`` where the key is no plain word."""
    if not re.fullmatch(r"[\w-]+", key):
        return f"{path}[{json.dumps(key)}]"
    return f"{path}.{key}" if path else key


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


def did_you_mean(name: str, known: Collection[str]) -> str:
    """What to do about an unknown name: the near miss, or the list of what is known."""
    near = nearest(name, known)
    return f"did you mean {quoted([near])}?" if near else f"known: {quoted(sorted(known))}"
