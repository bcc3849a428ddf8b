"""Reads a configuration file: checks text, types and meaning, and reports every problem at once."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from attrs import evolve, frozen
from msgspec import structs

from fleetgw.adapters.files.reading import unreadable_reason
from fleetgw.adapters.settings.converting import Converter
from fleetgw.adapters.settings.environment import with_environment
from fleetgw.adapters.settings.findings import Findings
from fleetgw.adapters.settings.spelling import quoted
from fleetgw.adapters.settings.values import Settings
from fleetgw.adapters.sinks.registry import installed_sinks
from fleetgw.adapters.speedups import VARIABLE
from fleetgw.app.config.airbrake import KEY_VARIABLE
from fleetgw.app.config.checks import check
from fleetgw.app.config.dispatchers import Dispatcher, is_place
from fleetgw.app.config.reading import read_json
from fleetgw.app.config.sections import Config
from fleetgw.app.config.showing import as_settings
from fleetgw.app.config.sinks import (
    AVAILABLE_SINKS,
    ConfiguredSink,
    GatewaySurroundings,
    routed_sinks,
    settings_path,
    sink_type,
)
from fleetgw.domain.errors import ConfigurationError, Problem

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


@frozen
class LoadedConfig:
    """A configuration without problems.

    :ivar config: typed, defaults filled in, secrets resolved, paths absolute.
    :ivar warnings: settings that work, but that an operator should look at.
    :ivar suppress_tls_handshake_errors: whether the environment keeps TLS handshake errors out of the log.
    :ivar airbrake_key_is_from_environment: whether ``airbrake.project_key`` is the one of the environment.
    """

    config: Config
    warnings: tuple[Problem, ...]
    suppress_tls_handshake_errors: bool = False
    airbrake_key_is_from_environment: bool = False


def load_config(path: Path, environ: Mapping[str, str], base_dir: Path | None = None) -> LoadedConfig:
    """Read a configuration file.

    :param path: the file; JSON in UTF-8.
    :param environ: the environment variables.
    :param base_dir: the folder that relative paths in it are relative to; default: the working directory, as in the Go
        server.
    :raises ConfigurationError: it cannot be read, or has problems; carries all of them.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        problem = Problem("", f"{path} cannot be read: {unreadable_reason(error)}", "name a file that can be")
        raise ConfigurationError([problem]) from error
    return parse_config(text, environ, base_dir or Path.cwd())


@frozen
class ConfigurationFile:
    """A configuration file, as a running gateway reads it again.

    :ivar path: absolute, as a daemon changes its working directory.
    :ivar base_dir: the folder that relative paths in the file are relative to.
    """

    path: Path
    environ: Mapping[str, str]
    base_dir: Path

    def load(self) -> LoadedConfig:
        """See ``load_config``."""
        return load_config(self.path, self.environ, self.base_dir)

    def check(self, config: Config) -> LoadedConfig:
        """See ``check_config``."""
        return check_config(config, self.environ)


def parse_config(
    text: str | bytes,
    environ: Mapping[str, str],
    base_dir: Path,
    *,
    available_sinks: frozenset[str] = AVAILABLE_SINKS,
    now: datetime | None = None,
) -> LoadedConfig:
    """As ``load_config``, from the file's text.

    :param base_dir: the folder that relative paths are relative to.
    :param available_sinks: the built-in sinks that may be routed to.
    :param now: the time at which certificates are checked, with its zone; default: now.
    :raises ConfigurationError: as ``load_config``.
    """
    findings = Findings()
    surroundings = _surroundings(environ, base_dir, available_sinks, now)
    config = Converter(findings, surroundings).section(Config, read_json(text, findings), "")
    return _checked(config, findings, surroundings)


def check_config(
    config: Config,
    environ: Mapping[str, str],
    *,
    available_sinks: frozenset[str] = AVAILABLE_SINKS,
    now: datetime | None = None,
) -> LoadedConfig:
    """As ``parse_config``, for a configuration object that a program has made; its paths are used as they are.

    :raises ConfigurationError: it has problems; carries all of them.
    """
    return _checked(config, Findings(), _surroundings(environ, Path(), available_sinks, now))


def _surroundings(
    environ: Mapping[str, str], base_dir: Path, available_sinks: frozenset[str], now: datetime | None
) -> GatewaySurroundings:
    return GatewaySurroundings(environ, base_dir, now or datetime.now(UTC), available_sinks, installed_sinks(), {})


def _checked(config: Config, findings: Findings, surroundings: GatewaySurroundings) -> LoadedConfig:
    environ = surroundings.environ
    sinks = _sinks(config, findings, surroundings)
    check(config, findings, evolve(surroundings, sinks=sinks))
    suppress = _read_flag("SUPPRESS_TLS_HANDSHAKE_ERROR_LOGGING", environ, findings)
    speedups = environ.get(VARIABLE, "1")
    if speedups not in ("0", "1"):
        findings.refuse(VARIABLE, f"the environment variable is {quoted([speedups])}", "set it to 0 or 1, or not at all")
    if findings.problems:
        raise ConfigurationError(findings.problems)
    return LoadedConfig(
        with_environment(_with_typed_dispatchers(config, sinks), environ),
        tuple(findings.warnings),
        suppress,
        airbrake_key_is_from_environment=config.airbrake is not None and bool(environ.get(KEY_VARIABLE)),
    )


def _sinks(config: Config, findings: Findings, surroundings: GatewaySurroundings) -> dict[str, ConfiguredSink]:
    """Find the types of all sinks in use, and convert third parties' settings to their types.

    A type that cannot be imported is noted as a problem; an unknown name is left to ``check_routes``.
    """
    sinks: dict[str, ConfiguredSink] = {}
    if not (findings.usable("records") and findings.usable("dispatchers")):
        return sinks
    for name in dict.fromkeys([*config.dispatchers, *sorted(routed_sinks(config))]):
        built_in, dispatcher = name in surroundings.installed.built_in, config.dispatchers.get(name, Dispatcher())
        named = dispatcher.class_ is not None and is_place(dispatcher.class_)
        if not (built_in or named or (dispatcher.class_ is None and name in surroundings.installed.third_party)):
            continue
        path = settings_path(name)
        try:
            found = sink_type(name, config)
        except ConfigurationError as error:
            findings.problems += error.problems
            continue
        settings = getattr(config, name) if built_in else dispatcher.settings
        if not built_in and _is_section(found.settings):
            settings = Converter(findings, surroundings).section(found.settings, settings, path)
            settings = with_environment(settings, surroundings.environ)
        sinks[name] = ConfiguredSink(found, path, settings if findings.usable(path) else None)
    return sinks


def _is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Settings)


def _with_typed_dispatchers(config: Config, sinks: Mapping[str, ConfiguredSink]) -> Config:
    """The configuration with third parties' settings as their types read them, defaults filled in."""
    dispatchers = dict(config.dispatchers)
    for name, sink in sinks.items():
        if sink.path != name and isinstance(sink.settings, Settings):
            settings = as_settings(sink.settings)
            dispatchers[name] = structs.replace(dispatchers.get(name, Dispatcher()), settings=settings)
    return structs.replace(config, dispatchers=dispatchers)


def _read_flag(name: str, environ: Mapping[str, str], findings: Findings) -> bool:
    """The truth value of an environment variable, in any form that the Go server accepts; unset is false."""
    value = environ.get(name, "false")
    if value not in _TRUE | _FALSE:
        findings.refuse(name, f"the environment variable is {quoted([value])}", "set it to true or false, or not at all")
    return value in _TRUE
