"""The declaration of a sink: everything that the gateway needs to know before it creates one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from attrs import field, frozen

from fleetgw.adapters.settings.lane import NO_OVERRIDE, LaneOverride
from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

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
    """A receipt does not guarantee that the destination has the record.

    :ivar what: the missing guarantee, for a warning.
    :ivar fix: the remedy; empty: to wait for another sink.
    """

    what: str
    fix: str = ""


@frozen
class ConfirmsHandOver:
    """A receipt means only that the client library or a socket has taken the record.

    :ivar what: as a warning or an error puts it.
    """

    what: str


@frozen
class ConfirmsNothing:
    """A receipt guarantees nothing, so that no acknowledgement can wait for it.

    :ivar what: the reason, for an error.
    """

    what: str


Confirmation: TypeAlias = Confirms | ConfirmsLess | ConfirmsHandOver | ConfirmsNothing


@frozen
class Exclusive:
    """A resource that only one sink can use at a time, in this process or any other.

    :ivar kind: an address that the sink binds, its client id at a broker, or a file.
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
    """Declaration of a sink, in a module that imports no client library. An entry point makes it known.

    :ivar name: of the sink in configurations.
    :ivar settings: the section: a class derived from ``Settings``, or an annotation of a ``dict`` for free-form settings.
        It is the only place with the settings' names, types, ranges, defaults and descriptions.
    :ivar make: creates the sink from its context, whose ``settings`` have been checked; imports the client library.
    :ivar further_keys: annotations of configuration keys outside the section, only for built-in sinks. ``make`` gets their
        values as keyword arguments; missing keys are None.
    :ivar meaning: description in one line, for the configuration reference.
    :ivar needs_section: whether the sink cannot work without its section.
    :ivar embedded_only: whether the sink works only in a gateway inside another program.
    :ivar names_destinations: whether the names of destinations start with the namespace.
    :ivar check: the sense checks, called with the typed settings; they may read files, but must not use the network.
    :ivar confirmation: guarantee of a receipt with these settings.
    :ivar holds: exclusive resources of a sink with these settings.
    :ivar certificate_keys: paths of the settings that name files of the sink's own certificates, such as
        ``("tls", "server_cert")``.
    :ivar lane: overrides of the general lane settings; an operator's settings for this sink take precedence.
    :ivar make_probe: creates the doctor's probe of the destination; None: the doctor starts and stops the sink.
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
    certificate_keys: Collection[Sequence[str]] = ()
    lane: LaneOverride = NO_OVERRIDE
    make_probe: Callable[[SinkContext], IDiagnosable] | None = None


@frozen
class Imported:
    """A function that is imported when it is called, see ``imported``."""

    place: str
    extra: str

    def __call__(self, context: SinkContext) -> Any:  # Any: the function decides
        """Import and call the function.

        :raises ConfigurationError: a library is not installed.
        """
        return self.load(context.name)(context)

    def load(self, name: str) -> Callable[[SinkContext], Any]:  # as above
        """Import the function for the sink called ``name``; may run on a thread. Raises as the call does."""
        module, _, attribute = self.place.partition(":")
        try:
            function: Callable[[SinkContext], Any] = getattr(import_module(module), attribute)  # as above
        except ImportError as error:
            what = f"a client library is not installed: {error}"
            raise ConfigurationError([Problem(name, what, f"pip install 'fleetgw[{self.extra}]'")]) from error
        return function


def imported(place: str, extra: str = "") -> Imported:
    """Value for ``make`` or ``make_probe`` that imports the real function when it is called.

    :param place: ``module:attribute`` of the function.
    :param extra: extra of this package that installs the client library.
    """
    return Imported(place, extra)
