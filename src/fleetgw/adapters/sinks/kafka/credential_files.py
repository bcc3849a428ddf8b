"""The files that a ``kafka`` section names: certificates, keys, key tables, and secrets."""

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
    """Tells when a client has to be made anew, as both libraries read these files once for each client."""

    def __init__(self, settings: Mapping[str, object]) -> None:
        self._settings = settings
        named = [value for name, value in settings.items() if name.endswith(_FILE_PROPERTIES) and isinstance(value, str)]
        self._watched = WatchedFiles({*map(Path, named), *(secret.path for secret in secret_files(settings))})

    def reload(self, use: Callable[[Mapping[str, object]], T]) -> tuple[list[str], T | None]:
        """Where files have changed, hand the section with its secrets read again to ``use``.

        :param use: raises when the section or a file cannot be used: then the files are tried again at the next call.
        :return: the files that have changed, and what ``use`` has returned.
        """
        with self._watched.reading_changed() as changed:
            used = use(with_secrets_read_again(self._settings)) if changed else None
        return [str(path) for path in changed], used
