"""Values and types in words, for error messages."""

import json
import typing
from pathlib import Path
from typing import Any

import msgspec

from fleetgw.adapters.secrets.masking import masked
from fleetgw.adapters.secrets.secret import Secret
from fleetgw.adapters.settings.secrets import FORMS
from fleetgw.adapters.settings.spelling import quoted
from fleetgw.adapters.settings.values import fields_of


def bare(kind: Any) -> Any:  # a type annotation of any form
    """A type without ``Annotated`` and without ``| None``."""
    if typing.get_origin(kind) is typing.Annotated:
        return bare(typing.get_args(kind)[0])
    if type(None) in typing.get_args(kind):
        return bare(next(each for each in typing.get_args(kind) if each is not type(None)))
    return kind


def hint(kind: Any, name: str) -> Any:  # a type annotation of any form; a hint of any type
    """Value of a hint in the outermost ``Meta.extra`` of a type that has it; None without one."""
    arguments = typing.get_args(kind)
    for each in arguments:
        if isinstance(each, msgspec.Meta) and each.extra and name in each.extra:
            return each.extra[name]
    inner = arguments[0] if typing.get_origin(kind) is typing.Annotated else kind
    if type(None) not in typing.get_args(inner):
        return hint(inner, name) if typing.get_origin(inner) is typing.Annotated else None
    return next((found for each in typing.get_args(inner) if (found := hint(each, name)) is not None), None)


def range_of(kind: Any) -> tuple[float | None, float | None]:  # a type annotation of any form
    """Minimum and maximum of a numeric type; None without a limit."""
    least = greatest = None
    for each in typing.get_args(kind):
        if isinstance(each, msgspec.Meta):
            least, greatest = least if each.ge is None else each.ge, greatest if each.le is None else each.le
        elif typing.get_args(each):
            least, greatest = range_of(each)
    return least, greatest


def type_name(kind: Any) -> str:  # a type annotation of any form
    """A type in words: ``a whole number from 0 to 65535``."""
    if words := hint(kind, "in_words"):
        return str(words)
    plain = bare(kind)
    origin, arguments = typing.get_origin(plain), typing.get_args(plain)
    if plain is bool:
        return "true or false"
    if plain in (int, float):
        return ("a whole number" if plain is int else "a number") + _range_name(*range_of(kind))
    if plain is str:
        return "text"
    if plain is Path:
        return "the path of a file"
    if plain is Secret:
        return FORMS.removeprefix("must be ")
    if origin is typing.Literal:
        return json.dumps(arguments[0]) if len(arguments) == 1 else "one of " + ", ".join(map(json.dumps, arguments))
    if origin is tuple:
        return f"a list of {type_name(arguments[0])}"
    if origin is dict:
        return (
            "an object"
            if bare(arguments[1]) is object and not hint(arguments[1], "in_words")
            else f"an object; each value is {type_name(arguments[1])}"
        )
    if arguments:
        return " or ".join(map(type_name, arguments))
    if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
        return f"an object with the keys {quoted(field.encode_name for field in fields_of(plain))}"
    return "any value"


def _range_name(least: float | None, greatest: float | None) -> str:
    if least is None and greatest is None:
        return ""
    return f" of at least {least}" if greatest is None else f" from {least} to {greatest}"


def shown(value: object) -> str:
    """A JSON value in words: ``"443" (text)``. Longer texts are cut."""
    match value:
        case Secret():
            return "a secret"
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return _cut(str(value))
        case str():
            return quoted([_cut(masked(value))]) + " (text)"  # masked first: a secret that is cut would not be recognised
        case list():
            return "a list"
        case _:
            return "an object"


def _cut(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
