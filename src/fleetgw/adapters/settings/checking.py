"""What a sink's sense checks are handed besides its settings."""

from collections.abc import Mapping

from attrs import frozen

from fleetgw.adapters.settings.findings import Findings, member
from fleetgw.adapters.settings.surroundings import Surroundings


@frozen
class SettingsCheck:
    """One sink's section, while its sense is checked: values that have the right types, but cannot work.

    :ivar path: of the section.
    :ivar namespace: first part of the destinations' names.
    :ivar record_types: those that are routed to the sink.
    :ivar further: values of the sink's keys beside its section.
    :ivar findings: collects what is found; ``refuse`` and ``warn`` add to it.
    """

    path: str
    namespace: str
    record_types: tuple[str, ...]
    further: Mapping[str, object]
    findings: Findings
    surroundings: Surroundings

    def refuse(self, key: str, what: str, fix: str) -> None:
        """Note a setting that the gateway cannot start with.

        :param key: the setting's, with dots below a section of its own; empty: the section as a whole.
        :param what: what is wrong with it.
        :param fix: what would be right.
        """
        self.findings.refuse(self.at(key), what, fix)

    def warn(self, key: str, what: str, fix: str) -> None:
        """Note a setting that the gateway starts with, but that an operator should look at."""
        self.findings.warn(self.at(key), what, fix)

    def at(self, key: str) -> str:
        """The path of a setting."""
        return f"{self.path}.{key}" if key else self.path

    def at_property(self, key: str) -> str:
        """The path of a setting whose name may hold dots of its own."""
        return member(self.path, key)
