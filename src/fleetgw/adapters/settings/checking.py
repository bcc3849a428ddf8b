"""The second argument of a sink's sense checks, besides its settings."""

from collections.abc import Mapping

from attrs import frozen

from fleetgw.adapters.settings.findings import Findings, member
from fleetgw.adapters.settings.surroundings import Surroundings


@frozen
class SettingsCheck:
    """A check of one sink's section for values that have the right types, but cannot work.

    :ivar path: of the section.
    :ivar namespace: the prefix of the destinations' names.
    :ivar record_types: types of the records that are routed to the sink.
    :ivar further: values of the sink's keys outside its section.
    :ivar findings: collects the problems and warnings that ``refuse`` and ``warn`` report.
    """

    path: str
    namespace: str
    record_types: tuple[str, ...]
    further: Mapping[str, object]
    findings: Findings
    surroundings: Surroundings

    def refuse(self, key: str, what: str, fix: str) -> None:
        """Report a problem that prevents the start.

        :param key: of the setting, with dots for a nested section; empty: the section as a whole.
        :param what: the problem.
        :param fix: the remedy.
        """
        self.findings.refuse(self.at(key), what, fix)

    def warn(self, key: str, what: str, fix: str) -> None:
        """Report a setting that does not prevent the start, but that an operator should look at."""
        self.findings.warn(self.at(key), what, fix)

    def at(self, key: str) -> str:
        """Path of a setting."""
        return f"{self.path}.{key}" if key else self.path

    def at_property(self, key: str) -> str:
        """Path of a setting whose name may contain dots."""
        return member(self.path, key)
