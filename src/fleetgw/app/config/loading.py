"""Reads a configuration file: text, then types, then meaning; every problem at once."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path

from attrs import frozen
from msgspec import structs

from fleetgw.app.config.checks import check
from fleetgw.adapters.settings.converting import Converter
from fleetgw.adapters.settings.findings import Findings, Surroundings, quoted
from fleetgw.app.config.reading import read_json
from fleetgw.app.config.routes import AVAILABLE_SINKS
from fleetgw.adapters.settings.secrets import reason
from fleetgw.app.config.sections import Config
from fleetgw.adapters.settings.values import Secret
from fleetgw.domain.errors import ConfigurationError, Problem

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})

ENTRY_POINT_GROUP = "fleetgw.dispatchers"
"""The entry-point group by which installed packages add sinks."""


@frozen
class LoadedConfig:
    """A configuration that can work.

    :ivar config: typed, defaults filled in, secrets resolved, paths absolute.
    :ivar warnings: what somebody should look at all the same.
    :ivar suppress_tls_handshake_errors: whether the environment asks to keep TLS handshake errors out of the log.
    """

    config: Config
    warnings: tuple[Problem, ...]
    suppress_tls_handshake_errors: bool = False


def load_config(path: Path, environ: Mapping[str, str]) -> LoadedConfig:
    """Read a configuration file.

    :param path: the file; JSON in UTF-8. Relative paths in it start from the working directory, as in the Go server, not
        from the file's folder.
    :param environ: the environment variables.
    :raises ConfigurationError: it cannot be read or cannot work; carries every problem found.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        problem = Problem("", f"{path} cannot be read: {reason(error)}", "name a file that can be")
        raise ConfigurationError([problem]) from error
    return parse_config(text, environ, Path.cwd())


def parse_config(
    text: str | bytes,
    environ: Mapping[str, str],
    base_dir: Path,
    *,
    available_sinks: frozenset[str] = AVAILABLE_SINKS,
    now: datetime | None = None,
) -> LoadedConfig:
    """As ``load_config``, from the file's text.

    :param base_dir: the folder that relative paths start from.
    :param available_sinks: the built-in sinks that may be routed to.
    :param now: the time for the expiry of certificates, with its zone; default: the present.
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
    """As ``parse_config``, of a configuration that a program has made; its paths are taken as they are.

    :raises ConfigurationError: it cannot work; carries every problem found.
    """
    return _checked(config, Findings(), _surroundings(environ, Path(), available_sinks, now))


def _surroundings(
    environ: Mapping[str, str], base_dir: Path, available_sinks: frozenset[str], now: datetime | None
) -> Surroundings:
    installed_sinks = frozenset(entry_points(group=ENTRY_POINT_GROUP).names)
    return Surroundings(environ, base_dir, now or datetime.now(UTC), available_sinks, installed_sinks)


def _checked(config: Config, findings: Findings, surroundings: Surroundings) -> LoadedConfig:
    environ = surroundings.environ
    check(config, findings, surroundings)
    suppress = _read_flag("SUPPRESS_TLS_HANDSHAKE_ERROR_LOGGING", environ, findings)
    if findings.problems:
        raise ConfigurationError(findings.problems)
    return LoadedConfig(_with_environment(config, environ), tuple(findings.warnings), suppress)


def _read_flag(name: str, environ: Mapping[str, str], findings: Findings) -> bool:
    """An environment variable that is true or false, in any of the forms that the Go server takes; unset is false."""
    value = environ.get(name, "false")
    if value not in _TRUE | _FALSE:
        findings.refuse(name, f"the environment variable is {quoted([value])}", "set it to true or false, or not at all")
    return value in _TRUE


def _with_environment(config: Config, environ: Mapping[str, str]) -> Config:
    """Put in the secrets that the environment gives: they win over the file's, as in the Go server."""
    if config.redis and (password := environ.get("REDIS_PASSWORD")):
        config = structs.replace(config, redis=structs.replace(config.redis, password=Secret(password)))
    if config.airbrake and (key := environ.get("AIRBRAKE_PROJECT_KEY")):
        config = structs.replace(config, airbrake=structs.replace(config.airbrake, project_key=Secret(key)))
    return config
