"""Reads the configuration again, and has the running gateway take over what can change without a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fleetgw.adapters.logs.levels import LEVELS
from fleetgw.adapters.process.call_in_thread import call_in_thread
from fleetgw.app.config.routes import routes_of
from fleetgw.app.config.taking_over import differences, taken_over, with_routes_of
from fleetgw.app.service.lane_maker import import_sinks, sink_names
from fleetgw.app.service.live_settings import (
    access_rules,
    gateway_settings,
    ingress_limits,
    issuers,
    spooled_otherwise,
    tls_files,
)
from fleetgw.domain.errors import ConfigurationError
from fleetgw.domain.ports import ITakesFurtherTypes

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorThreads

    from fleetgw.adapters.logs.lines import LineLog
    from fleetgw.app.config.loading import LoadedConfig
    from fleetgw.app.config.sections import Config
    from fleetgw.app.service.composition import Parts


class ConfigurationSource(Protocol):
    """Where a configuration comes from. Both methods read files, and are called on a thread."""

    def load(self) -> LoadedConfig:
        """Read and check the configuration.

        :raises ConfigurationError: it has problems; carries all of them.
        """

    def check(self, config: Config) -> LoadedConfig:
        """Check a configuration that has been read and changed; raises as ``load``."""


class ConfigurationReloader:
    """Takes over another configuration: all of it that a reload applies, or nothing."""

    def __init__(self, parts: Parts, reactor: IReactorThreads, lines: LineLog | None) -> None:
        """:param lines: the log whose level is ``log_level``; None where the program's log has a level of its own."""
        self._parts = parts
        self._reactor = reactor
        self._lines = lines
        self._made_with = dict.fromkeys(parts.sinks.lanes, parts.in_effect.config)

    @property
    def config(self) -> Config:
        """The configuration in effect."""
        return self._parts.in_effect.config

    async def reload(self, source: ConfigurationSource) -> None:
        """Read the configuration; start the sinks that are new; then replace everything between two reads.

        Logs every problem, or the difference.

        :raises ConfigurationError: it cannot be used, and nothing has changed; carries all problems.
        """
        try:
            loaded = await call_in_thread(self._reactor, source.load)
            config = self._applicable(loaded.config)
            changed, kept = await call_in_thread(
                self._reactor, lambda: _compared(source, self.config, config, loaded.config)
            )
            await self._parts.sinks.add(sink_names(config), lambda running: self._parts.lane_maker.make(config, running))
            self._apply(config)
        except ConfigurationError as error:
            self._parts.sinks.route(sink_names(self.config))
            for problem in error.problems:
                self._parts.log.error("configuration_not_reloaded", key=problem.path, error=problem.what, fix=problem.fix)
            raise
        for warning in loaded.warnings:
            self._parts.log.warn("configuration_warning", key=warning.path, warning=f"{warning.what}; {warning.fix}")
        self._parts.log.info("configuration_reloaded", changed=changed)
        if kept:
            self._parts.log.warn("restart_needed", changed=kept)
        if self._lines is not None:
            self._lines.set_level(LEVELS[config.log_level])

    def _applicable(self, read: Config) -> Config:
        """The configuration as far as it can be taken over without a restart."""
        lanes = self._parts.sinks.lanes
        kept = {
            record_type
            for record_type, sinks in read.records.items()
            for name in sinks
            if name in lanes
            and name not in self._made_with[name].records.get(record_type, ())
            and not ITakesFurtherTypes.providedBy(lanes[name].sink)
        }
        config = with_routes_of(self.config, read, kept | spooled_otherwise(self.config, read))
        made_with = {name: self._made_with[name] for name in sink_names(config) if name in lanes}
        return taken_over(self.config, config, made_with)

    def _apply(self, config: Config) -> None:
        """Replace everything at once.

        :raises ConfigurationError: a certificate has become unusable since the check; nothing has changed.
        """
        parts, before = self._parts, self.config
        if tls_files(config) != parts.tls.files:
            parts.tls.use(tls_files(config))
        lanes = {name: parts.sinks.lanes[name] for name in sink_names(config)}
        for name, lane in lanes.items():
            if ITakesFurtherTypes.providedBy(lane.sink):
                ITakesFurtherTypes(lane.sink).take_further_types(
                    [record_type for record_type, sinks in config.records.items() if name in sinks]
                )
        parts.gateway.routes.use(routes_of(config), lanes)
        parts.gateway.use(gateway_settings(config))
        parts.health.use(config)
        if issuers(config) != issuers(before) or config.limits != before.limits:
            parts.vehicles.use(issuers(config), ingress_limits(config.limits, parts.log))
        if self._lines is not None:  # the report of the reload is written as both levels say
            self._lines.set_level(min(LEVELS[before.log_level], LEVELS[config.log_level]))
        parts.gateway.sessions.connected.share_lanes()
        parts.access.use(access_rules(config))
        parts.in_effect.config = config
        self._made_with = {name: self._made_with.get(name, config) for name in parts.sinks.lanes}
        parts.sinks.route(lanes.keys())


def _compared(
    source: ConfigurationSource, before: Config, config: Config, read: Config
) -> tuple[dict[str, str], dict[str, str]]:
    """Check what is to be in effect, import its sinks, and compare: the keys that change, and those that need a restart.

    For a thread: it takes time.
    """
    source.check(config)
    import_sinks(config)
    changed, kept = differences(before, config), differences(config, read)
    return {each.path: str(each) for each in changed}, {each.path: str(each) for each in kept}
