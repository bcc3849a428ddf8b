"""Checks of the folders that a gateway stores records in."""

from os import W_OK, X_OK, access
from pathlib import Path

from fleetgw.adapters.settings.findings import Findings
from fleetgw.adapters.settings.spelling import quoted


def check_folder(folder: Path, key: str, findings: Findings) -> None:
    """Check that a folder may be used, as far as that can be told without opening it. The start sees who else uses it."""
    path = folder.absolute()
    existing = next(each for each in (path, *path.parents) if each.exists())
    if not existing.is_dir():
        findings.refuse(key, f"is {quoted([str(folder)])}, and {existing} is a file", "name a folder")
    elif not access(existing, W_OK | X_OK):
        findings.refuse(key, f"cannot be written to: {existing}", "name a folder that may be written to")
