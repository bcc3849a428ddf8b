"""The configuration: what keys there are, how a file is read and checked, how it is shown."""

from fleetgw.app.config.loading import AVAILABLE_SINKS, ENTRY_POINT_GROUP, LoadedConfig, load_config, parse_config
from fleetgw.app.config.sections import Config
from fleetgw.app.config.values import Secret

__all__ = ["AVAILABLE_SINKS", "ENTRY_POINT_GROUP", "Config", "LoadedConfig", "Secret", "load_config", "parse_config"]
