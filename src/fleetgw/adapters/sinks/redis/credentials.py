"""Passwords, certificates and keys, read again when their files have changed."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from fleetgw.adapters.files.watched import WatchedFiles
from fleetgw.adapters.secrets.secret import secret_files, with_secrets_read_again
from fleetgw.adapters.sinks.redis.settings import read_settings
from fleetgw.domain.errors import FleetgwError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fleetgw.adapters.sinks.redis.settings import RedisSettings


class Access(Protocol):
    """How to get to the servers. Any thread may ask."""

    def current(self) -> RedisSettings:
        """The settings, for a connection to be made now."""

    def refused(self) -> None:
        """A server has refused what was current: look whether there is something newer."""


class FixedAccess:
    """Settings that stay as they are, for a look at the servers that ends soon."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings

    def current(self) -> RedisSettings:
        """Always the same."""
        return self._settings

    def refused(self) -> None:
        """There is nothing newer."""


class Credentials:
    """The settings with the passwords, certificates and keys that their files hold.

    :param told_read: called with the names of files that were read again, on the thread that asked.
    :param told_unusable: likewise, why they cannot be used; the old content stays in use.
    :raises ConfigurationError: the settings cannot work.
    """

    def __init__(
        self,
        name: str,
        given: Mapping[str, object],
        told_read: Callable[[Sequence[str]], None],
        told_unusable: Callable[[str], None],
    ) -> None:
        self._name = name
        self._given = given
        self._told_read = told_read
        self._told_unusable = told_unusable
        self._lock = Lock()
        self._watched = WatchedFiles(_files(given))
        self._in_doubt = False
        self._settings = read_settings(name, given)

    def current(self) -> RedisSettings:
        """The settings, with what the files hold now; where that cannot be used, with what they held before."""
        try:
            if files := self.reload():
                self._told_read(files)
        except FleetgwError as error:
            self._told_unusable(str(error))
        return self._settings

    def refused(self) -> None:
        """Have the files read again before the next connection, whatever their times say."""
        with self._lock:
            self._in_doubt = True

    def reload(self) -> Sequence[str]:
        """Read the files again that have changed; returns their names.

        :raises FleetgwError: one cannot be used; the old content stays in use.
        """
        with self._lock, self._watched.reading_changed() as changed:
            if changed or self._in_doubt:
                self._settings = read_settings(self._name, with_secrets_read_again(self._given))
                self._in_doubt = False
            return [str(path) for path in changed] or ()


def _files(given: Mapping[str, object]) -> list[Path]:
    """Every file that the section names."""
    tls = given.get("tls")
    names = [tls.get(key) for key in ("ca_file", "server_cert", "server_key")] if isinstance(tls, dict) else []
    return [*{secret.path: None for secret in secret_files(given)}, *(Path(str(name)) for name in names if name)]
