"""Inputs of a configuration besides its text."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from attrs import frozen


@frozen
class Surroundings:
    """Environment variables, base folder and current time.

    :ivar environ: the environment variables.
    :ivar base_dir: base of relative paths.
    :ivar now: the current time, for the expiry of certificates.
    """

    environ: Mapping[str, str]
    base_dir: Path
    now: datetime
