"""The configuration: what keys there are, how a file is read and checked, how it is shown."""

from fleetgw.app.config.loading import ENTRY_POINT_GROUP, LoadedConfig, check_config, load_config, parse_config
from fleetgw.app.config.routes import AVAILABLE_SINKS, BUILT_IN_SINKS
from fleetgw.app.config.schema import json_schema
from fleetgw.app.config.sections import Config
from fleetgw.app.config.showing import as_settings, effective_config, render_effective, render_problems, secrets_in
from fleetgw.adapters.settings.values import Secret

__all__ = [
    "AVAILABLE_SINKS",
    "BUILT_IN_SINKS",
    "ENTRY_POINT_GROUP",
    "Config",
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
