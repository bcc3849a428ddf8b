"""Passwords, certificates and keys, read again when their files have changed."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Protocol

from fleetgw.adapters.files.watched import WatchedFiles
from fleetgw.adapters.secrets.secret import secret_files, with_secrets_read_again
from fleetgw.adapters.settings.converting import typed
from fleetgw.adapters.sinks.redis.settings import Redis, read_settings
from fleetgw.domain.errors import FleetgwError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fleetgw.adapters.sinks.redis.settings import RedisSettings


class Access(Protocol):
    """The settings of connections, with current credentials. Any thread may use it."""

    def current(self) -> RedisSettings:
        """The settings for a connection to be made now."""

    def refused(self) -> None:
        """Note that a server has refused the credentials: newer ones may be there."""


class FixedAccess:
    """Settings that stay the same, for a short use such as the doctor's."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings

    def current(self) -> RedisSettings:
        """See ``Access``."""
        return self._settings

    def refused(self) -> None:
        """See ``Access``; there are no newer ones."""


class Credentials:
    """The settings, with passwords, certificates and keys from their files. See ``Access``.

    :param on_read: called with the names of files that ``current`` has read again, on its thread.
    :param on_unusable: called with the reason why they cannot be used; the old content stays in use.
    :raises ConfigurationError: the settings cannot work.
    """

    def __init__(
        self,
        name: str,
        given: Mapping[str, object],
        on_read: Callable[[Sequence[str]], None],
        on_unusable: Callable[[str], None],
    ) -> None:
        self._name = name
        self._given = given
        self._on_read = on_read
        self._on_unusable = on_unusable
        self._lock = Lock()
        tls = typed(Redis, given, name).tls
        self._watched = WatchedFiles([*(secret.path for secret in secret_files(given)), *(tls.files if tls else ())])
        self._refused = False
        self._settings = read_settings(name, given)

    def current(self) -> RedisSettings:
        """The settings with the current content of the files; with the old content where the current cannot be used."""
        try:
            if files := self.reload():
                self._on_read(files)
        except FleetgwError as error:
            self._on_unusable(str(error))
        return self._settings

    def refused(self) -> None:
        """Read the files again before the next connection, even if their modification times have not changed."""
        with self._lock:
            self._refused = True

    def reload(self) -> Sequence[str]:
        """Read the changed files again; returns their names.

        :raises FleetgwError: a file cannot be used; the old content stays in use.
        """
        with self._lock, self._watched.reading_changed() as changed:
            if changed or self._refused:
                self._settings = read_settings(self._name, with_secrets_read_again(self._given))
                self._refused = False
            return [str(path) for path in changed] or ()
