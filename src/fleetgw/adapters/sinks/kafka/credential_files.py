"""Watches the files that a ``kafka`` section names: certificates, keys, key tables, and secrets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fleetgw.adapters.files.watched import WatchedFiles
from fleetgw.adapters.secrets.secret import secret_files, with_secrets_read_again

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    T = TypeVar("T")

_FILE_PROPERTIES = (".location", ".keytab", ".file")


class CredentialFiles:
    """Tells when another client is needed: both libraries read these files only when a client is made."""

    def __init__(self, settings: Mapping[str, object]) -> None:
        self._settings = settings
        named = [value for name, value in settings.items() if name.endswith(_FILE_PROPERTIES) and isinstance(value, str)]
        self._watched = WatchedFiles({*map(Path, named), *(secret.path for secret in secret_files(settings))})

    def reload(self, use: Callable[[Mapping[str, object]], T]) -> tuple[list[str], T | None]:
        """Where files have changed, read the section's secrets again and call ``use`` with the section.

        :param use: raises when the section or a file cannot be used; then the next call tries these files again.
        :return: the changed files, and the result of ``use``.
        """
        with self._watched.reading_changed() as changed:
            used = use(with_secrets_read_again(self._settings)) if changed else None
        return [str(path) for path in changed], used
