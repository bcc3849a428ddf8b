"""Envelopes read by layout: vehicles send messages that differ only in their content.

Two messages with the same bytes outside their vectors and numbers have the same offsets and lengths, so that one precompiled
``Struct`` reads the second. It halves the time that an envelope takes.
"""

from __future__ import annotations

from itertools import pairwise
from operator import itemgetter
from struct import Struct, error
from typing import TYPE_CHECKING, Any

from attrs import frozen

from fleetgw.adapters.codec import envelope as wire
from fleetgw.domain.records import Envelope

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTHS = 512
LENGTH_LIMIT_BYTES = 4096
"""One layout is kept for messages of one length, for so many lengths, up to such a length."""

LEARN_EVERY = 16
"""To learn a layout costs as much as to read ten messages: one of so many that fit none is learnt from."""

_make = tuple.__new__


@frozen
class _Layout:
    """The structure of messages of one length.

    :ivar unpack: takes a message apart: structure, content, structure, ..., structure.
    :ivar structure: the bytes that decide where the content stands, and the padding.
    :ivar pick: txid, topic, sender id and payload of what ``unpack`` returns.
    """

    unpack: Callable[[bytes], tuple[bytes, ...]]
    structure: tuple[bytes, ...]
    pick: Callable[[tuple[bytes, ...]], tuple[Any, ...]]  # Any: itemgetter's types do not say that four indexes give four


class EnvelopeReader:
    """Reads envelopes as ``envelope.read`` does, in less time where a layout is known."""

    def __init__(self) -> None:
        self._layouts: dict[int, _Layout] = {}
        self._unknown = 0

    def read(self, message: bytes) -> Envelope:
        """See ``envelope.read``."""
        layout = self._layouts.get(len(message))
        if layout is not None:
            parts = layout.unpack(message)
            if parts[::2] == layout.structure:
                return _make(Envelope, (wire.STREAM, True, *layout.pick(parts)))
        envelope = wire.read(message)
        self._unknown += 1
        if self._unknown % LEARN_EVERY == 0 and len(message) <= LENGTH_LIMIT_BYTES:
            self._learn(message)
        return envelope

    def _learn(self, message: bytes) -> None:
        layout = _layout_of(message)
        if layout is None:
            return
        self._layouts.pop(len(message), None)
        if len(self._layouts) == LENGTHS:
            del self._layouts[next(iter(self._layouts))]
        self._layouts[len(message)] = layout


def _layout_of(message: bytes) -> _Layout | None:
    """The layout of a message that can be read; None when it is unusual, or its parts overlap."""
    try:
        found = wire.usual_places(message)
    except error:
        return None
    if found is None:
        return None
    wanted, content, structure = found
    edges = sorted(span for span in content if span[0] < span[1])
    # a byte that decides about the structure must not be content, and no byte may be content twice
    if any(end > start for (_, end), (start, _) in pairwise(edges)) or any(
        start < content_end and content_start < end for start, end in structure for content_start, content_end in edges
    ):
        return None
    if any(span not in edges for span in wanted):  # an empty one
        return None
    shape, at = "<", 0
    for start, end in edges:
        shape += f"{start - at}s{end - start}s"
        at = end
    unpack = Struct(f"{shape}{len(message) - at}s").unpack
    return _Layout(unpack, unpack(message)[::2], itemgetter(*(2 * edges.index(span) + 1 for span in wanted)))
