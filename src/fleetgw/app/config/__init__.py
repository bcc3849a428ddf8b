"""The configuration: its keys, and how a file is read, checked and shown."""

from fleetgw.adapters.secrets.secret import Secret
from fleetgw.app.config.loading import ConfigurationFile, LoadedConfig, check_config, load_config, parse_config
from fleetgw.app.config.schema import json_schema
from fleetgw.app.config.sections import Config
from fleetgw.app.config.showing import as_settings, effective_config, render_effective, render_problems, secrets_in
from fleetgw.app.config.sinks import AVAILABLE_SINKS, BUILT_IN_SINKS

__all__ = [
    "AVAILABLE_SINKS",
    "BUILT_IN_SINKS",
    "Config",
    "ConfigurationFile",
    "LoadedConfig",
    "Secret",
    "as_settings",
    "check_config",
    "effective_config",
    "json_schema",
    "load_config",
    "parse_config",
    "render_effective",
    "render_problems",
    "secrets_in",
]
