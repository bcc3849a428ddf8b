"""Problems and warnings of a configuration."""

import json
import re

from attrs import define, field

from fleetgw.adapters.secrets.masking import masked
from fleetgw.domain.errors import Problem


@define
class Findings:
    """Collects problems and warnings, in the order of the reports."""

    problems: list[Problem] = field(factory=list)
    warnings: list[Problem] = field(factory=list)
    _unusable: list[str] = field(factory=list)
    _secrets: set[str] = field(factory=set)

    def refuse(self, path: str, what: str, fix: str) -> None:
        """Report a problem that prevents the start."""
        self.problems.append(Problem(path, masked(what, self._secrets), masked(fix, self._secrets)))

    def refuse_value(self, path: str, what: str, fix: str) -> None:
        """Like ``refuse``, for a value that could not be read: checks that depend on it are skipped (see ``usable``)."""
        self.refuse(path, what, fix)
        self._unusable.append(path)

    def warn(self, path: str, what: str, fix: str) -> None:
        """Report a problem that does not prevent the start, but that an operator should look at."""
        self.warnings.append(Problem(path, masked(what, self._secrets), masked(fix, self._secrets)))

    def hide(self, secret: str) -> None:
        """Mask this secret in all later reports."""
        self._secrets.add(secret)

    def refuses(self, path: str) -> bool:
        """Whether ``path`` or a member of it has been refused."""
        return any(_within(problem.path, path) for problem in self.problems)

    def usable(self, path: str) -> bool:
        """Whether the value at ``path``, its members and the sections around it could be read."""
        return not any(_within(other, path) or _within(path, other) for other in self._unusable)


def _within(inner: str, outer: str) -> bool:
    return inner == outer or not outer or inner.startswith((outer + ".", outer + "["))


def member(path: str, key: str) -> str:
    """Path of a member: ``tls.ca_file``, or ``kafka["acks.x"]`` where the key is no plain word."""
    if not re.fullmatch(r"[\w-]+", key):
        return f"{path}[{json.dumps(key)}]"
    return f"{path}.{key}" if path else key
