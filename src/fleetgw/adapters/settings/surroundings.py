"""The world outside the configuration's text that its meaning depends on."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from attrs import frozen


@frozen
class Surroundings:
    """Environment, folder and time that a configuration is read in.

    :ivar environ: the environment variables.
    :ivar base_dir: the folder that relative paths start from.
    :ivar now: the time, for the expiry of certificates.
    """

    environ: Mapping[str, str]
    base_dir: Path
    now: datetime
