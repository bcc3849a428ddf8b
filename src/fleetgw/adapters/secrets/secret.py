"""Secrets of the configuration; a secret in a file can be read again after the file was replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from fleetgw.adapters.files.reading import unreadable_reason
from fleetgw.domain.errors import FleetgwError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MASK = "********"


class Secret(str):
    """Text that ``repr`` and ``effective_config`` hide. ``str()`` and formatting show it, for its use."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(MASK)


class UnusableSecretFile(FleetgwError):
    """The file of a secret cannot be read, or is empty.

    :ivar what: the problem, without the file's name.
    :ivar fix: the remedy.
    """

    def __init__(self, path: Path, what: str, fix: str) -> None:
        super().__init__(f"{path} {what}; {fix}")
        self.what = what
        self.fix = fix


class SecretFile(Secret):
    """A secret in a file. Its text is the content at the time of reading; ``read_again`` returns a new object.

    :ivar path: the file.
    """

    __slots__ = ("path",)

    path: Path

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file and remove one line end.

        :raises UnusableSecretFile: it cannot be read, or is empty.
        """
        try:
            text = path.read_text("utf-8")
        except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a NUL in the path
            what = f"cannot be read: {unreadable_reason(error)}"
            raise UnusableSecretFile(path, what, "name a text file that holds the secret") from error
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise UnusableSecretFile(path, "is empty", "write the secret into it")
        secret = cls(text)
        secret.path = path
        return secret

    def read_again(self) -> Self:
        """Read the file once more.

        :raises UnusableSecretFile: it cannot be read, or is empty.
        """
        return self.read(self.path)


def secret_files(settings: object) -> Iterator[SecretFile]:
    """Secrets in files among a sink's settings, at any depth."""
    match settings:
        case SecretFile():
            yield settings
        case Mapping():
            for each in settings.values():
                yield from secret_files(each)
        case list() | tuple():
            for each in settings:
                yield from secret_files(each)


def with_secrets_read_again(settings: Any) -> Any:  # any JSON value; the result has the same shape
    """Copy of a sink's settings in which every secret in a file is read again.

    :raises UnusableSecretFile: one of the files cannot be read, or is empty.
    """
    match settings:
        case SecretFile():
            return settings.read_again()
        case Mapping():
            return {key: with_secrets_read_again(each) for key, each in settings.items()}
        case list() | tuple():
            return [with_secrets_read_again(each) for each in settings]
    return settings
