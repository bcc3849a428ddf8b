"""The declaration of the sink ``sqlite``."""

from pathlib import Path

from fleetgw.adapters.sinks.sink_type import Confirmation, Confirms, ConfirmsLess, Exclusive, SinkType, imported
from fleetgw.adapters.sinks.sqlite.settings import DEFAULT_PATH, Sqlite


def _confirmation(sqlite: Sqlite) -> Confirmation:
    if sqlite.synchronous == "normal":
        what = "a power cut may lose what sqlite has confirmed, as sqlite.synchronous is normal"
        return ConfirmsLess(what, 'set sqlite.synchronous to "full"')
    return Confirms()


SQLITE = SinkType(
    name="sqlite",
    settings=Sqlite,
    make=imported("fleetgw.adapters.sinks.sqlite.sink:SqliteSink"),
    meaning="The sink `sqlite`; works without its section.",
    names_destinations=False,
    confirmation=_confirmation,
    holds=lambda sqlite: [Exclusive("file", str((sqlite.path or Path(DEFAULT_PATH)).absolute()))],
    make_probe=imported("fleetgw.adapters.sinks.sqlite.probe:sqlite_probe"),
)
