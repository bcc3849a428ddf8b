"""The problems and warnings that are found while a configuration is read."""

import json
import re

from attrs import define, field

from fleetgw.adapters.secrets.masking import masked
from fleetgw.domain.errors import Problem


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
