"""A third party's sink whose settings have no fixed names."""

from typing import Annotated

from msgspec import Meta

from fleetgw.adapters.settings.values import FREE_FORM, Setting
from fleetgw.adapters.sinks.memory.sink import MemorySink
from fleetgw.adapters.sinks.sink_type import SinkType

SINK: SinkType[dict[str, object]] = SinkType(
    name="mine", settings=Annotated[dict[str, Setting], Meta(extra=FREE_FORM)], make=MemorySink
)
