"""The declaration of a sink: everything that the gateway has to know of it before it makes one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from attrs import field, frozen

from fleetgw.adapters.settings.lane import AS_IN_GENERAL, LaneOverride
from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from fleetgw.adapters.settings.checking import SettingsCheck
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import IDiagnosable, IDispatcher

S = TypeVar("S")
M = TypeVar("M")


@frozen
class Confirms:
    """A receipt means that the destination has the record."""


@frozen
class ConfirmsLess:
    """A receipt means less than that.

    :ivar what: what a receipt does not promise, as a warning puts it.
    :ivar fix: what would be right; empty: to wait for another sink.
    """

    what: str
    fix: str = ""


@frozen
class ConfirmsNothing:
    """A receipt means nothing that a vehicle could wait for.

    :ivar what: as an error puts it.
    """

    what: str


Confirmation: TypeAlias = Confirms | ConfirmsLess | ConfirmsNothing


@frozen
class Exclusive:
    """Something that one sink alone can have: a second one with the same, in this process or another, would not work.

    :ivar kind: an address that the sink binds, the id by which a broker knows it, or a file.
    """

    kind: Literal["address", "client id", "file"]
    name: str


def _no_checks(_settings: object, _check: SettingsCheck) -> None:
    pass


def _confirms(_settings: object) -> Confirmation:
    return Confirms()


def _holds_nothing(_settings: object) -> Collection[Exclusive]:
    return ()


@frozen(kw_only=True)
class SinkType(Generic[S]):
    """One sink, declared. It stands in a module that imports no client library, and is found by an entry point.

    :ivar name: what configurations route to.
    :ivar settings: the section: a class derived from ``Settings``, or an annotation of a ``dict`` for free-form settings.
        The only place with the names, types, ranges, defaults and descriptions of the settings.
    :ivar make: makes the sink from its context, whose ``settings`` are checked; imports the client library.
    :ivar further_keys: annotations of keys of the configuration beside the section, of a built-in sink alone. ``make`` gets
        their values as keyword arguments; left out, they are None.
    :ivar meaning: one line for the reference of the configuration.
    :ivar needs_section: whether the sink cannot work without its section.
    :ivar embedded_only: whether it is for a gateway that runs inside another program.
    :ivar names_destinations: whether destinations are named after the namespace.
    :ivar check: the sense checks, called with the typed settings; they may read files, but reach for nothing else.
    :ivar confirmation: how strong a receipt is, by the settings.
    :ivar holds: what a sink with these settings holds exclusively.
    :ivar lane: how its lane differs from the general settings; an operator's settings for this sink win.
    :ivar make_probe: makes the doctor's probe of the destination; None: the doctor starts and stops the sink.
    """

    name: str
    settings: type[S] | Any  # Any: an annotation has no type
    make: Callable[..., IDispatcher]
    further_keys: Mapping[str, Any] = field(factory=dict)  # Any: as above
    meaning: str = ""
    needs_section: bool = False
    embedded_only: bool = False
    names_destinations: bool = True
    check: Callable[[S, SettingsCheck], None] = _no_checks
    confirmation: Callable[[S], Confirmation] = _confirms
    holds: Callable[[S], Collection[Exclusive]] = _holds_nothing
    lane: LaneOverride = AS_IN_GENERAL
    make_probe: Callable[[SinkContext], IDiagnosable] | None = None


def imported(place: str, extra: str = "") -> Callable[[SinkContext], Any]:  # Any: what stands there makes
    """A maker that imports the real one when it is called.

    :param place: ``module:attribute`` of what is called with the context.
    :param extra: of our package, that installs the client library.
    """

    def make(context: SinkContext) -> Any:  # as above
        module, _, attribute = place.partition(":")
        try:
            maker = getattr(import_module(module), attribute)
        except ImportError as error:
            what = f"a client library is not installed: {error}"
            raise ConfigurationError([Problem(context.name, what, f"pip install 'fleetgw[{extra}]'")]) from error
        return maker(context)

    return make
