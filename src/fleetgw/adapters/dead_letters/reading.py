"""Reading the dead letters in a folder beside the gateway that writes them. Nothing in the folder changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import Factory, define

from fleetgw.adapters.dead_letters.removed import load
from fleetgw.adapters.dead_letters.stores import KEY, folder_name, sinks_in
from fleetgw.adapters.spool.folder import Folder
from fleetgw.adapters.spool.inspection import inspect, read_file
from fleetgw.adapters.spool.record_format import Damaged
from fleetgw.domain.dead_letter import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@define
class StoredLetters:
    """Letters of one sink that were read together.

    :ivar letters: each with its position.
    :ivar damaged: number of letters that cannot be read as they were written.
    """

    letters: Sequence[tuple[int, DeadLetter]] = Factory(list)
    damaged: int = 0


class LetterFolder:
    """The letters of all sinks in a folder.

    :ivar sinks: their names.
    :raises OSError: it is not there, or cannot be read.
    """

    def __init__(self, path: str) -> None:
        self._folder = Folder(path, KEY)
        self.path = self._folder.path
        self.sinks = sinks_in(self._folder)

    def size_bytes(self, sink: str) -> int:
        """Size of a sink's files.

        :raises OSError: it cannot be found.
        """
        return sum(file.size_bytes for file in inspect(self._path_of(sink)).files)

    def read(self, sink: str) -> Iterator[StoredLetters]:
        """The letters of one sink, oldest first, in parts that fit into memory.

        :raises NewerVersion: a file is of a later version.
        :raises apsw.Error: a file cannot be read.
        :raises OSError: likewise.
        """
        path = self._path_of(sink)
        found = inspect(path)
        removed = load(path)
        for file in found.files:
            try:
                for contents in read_file(found.folder, file):
                    pairs = zip(contents.positions, contents.records, strict=True)
                    letters = [(at, each) for at, each in pairs if isinstance(each, DeadLetter) and at not in removed]
                    yield StoredLetters(letters, sum(at not in removed for at in contents.damaged))
            except Damaged:
                yield StoredLetters(damaged=1)

    def _path_of(self, sink: str) -> str:
        return self._folder.path_of(folder_name(sink))
