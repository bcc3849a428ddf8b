"""Makes a sink that a configuration routes to; this imports its client library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from fleetgw.app.config.sinks import further_of
from fleetgw.domain.errors import ConfigurationError, Problem
from fleetgw.domain.ports import IDispatcher

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.registry import AnySinkType
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.app.config.sections import Config


def make_sink(sink_type: AnySinkType, context: SinkContext, config: Config) -> IDispatcher:
    """Make a sink, and verify that it provides ``IDispatcher``.

    :raises ConfigurationError: its settings cannot work, or it does not provide ``IDispatcher``.
    """
    path = f"dispatchers.{context.name}"
    try:
        sink = sink_type.make(context, **further_of(sink_type, config))
        verifyObject(IDispatcher, sink)
    except ConfigurationError:
        raise
    except Invalid as error:
        what = f"it does not provide IDispatcher: {error}"
        raise ConfigurationError([Problem(path, what, "see docs/writing-a-sink.md")]) from error
    except Exception as error:  # a third party's; the name of the sink helps an operator more than a traceback
        what = f"it cannot be made: {type(error).__name__}: {error}"
        raise ConfigurationError([Problem(path, what, "see docs/writing-a-sink.md")]) from error
    if sink.name != context.name:
        what = f"the sink calls itself {sink.name!r}"
        raise ConfigurationError([Problem(path, what, f"its name must be its context's, {context.name!r}")])
    return sink
