"""The measured shapes of load."""

from attrs import frozen


@frozen
class Shape:
    """A shape of load.

    :ivar about: in words.
    :ivar vehicles: connections.
    :ivar window: records that a vehicle sends before it waits for acknowledgements.
    :ivar together: WebSocket frames in one TLS record.
    :ivar rate: records a second from all vehicles, whatever has been acknowledged; 0: as fast as the window lets.
    :ivar records: in one round.
    """

    about: str
    vehicles: int
    window: int
    together: int
    rate: int
    records: int


SHAPES = {
    "W1": Shape("64 vehicles, each waits for every acknowledgement", 64, 1, 1, 0, 16_000),
    "W16": Shape("32 vehicles, 16 records unacknowledged", 32, 16, 1, 0, 32_000),
    "R16": Shape("as W16, 16 records in one TLS record", 32, 32, 16, 0, 32_000),
    "paced": Shape("200 vehicles, 5000 records/s in all", 200, 1_000_000, 1, 5000, 5_000),
}
