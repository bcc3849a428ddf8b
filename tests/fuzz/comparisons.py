"""Comparison of a function in C, its Python twin and an independent reading of the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol  # Any: results of different functions

if TYPE_CHECKING:
    from random import Random

Input = tuple[bytes | str | int, ...]
"""The drawn arguments of a function."""

Functions = list[Callable[..., Any]]


class Mismatch(Exception):
    """Two readings of one input differ."""


class Comparison(Protocol):
    """Inputs of one function, and their comparison."""

    name: str
    functions: Functions
    """The Python twin, and the function in C where the extension is built."""

    def draw(self, random: Random) -> tuple[str, Input]:
        """A kind of input, and an input."""

    def arguments(self, given: Input) -> tuple[object, ...]:
        """All arguments of the function."""

    def check(self, given: Input) -> bool:
        """Compare all readings; returns whether the fast path took the input.

        :raises Mismatch: they differ.
        """


def in_c(name: str) -> Functions:
    """The function in C; none where the extension is not built."""
    try:
        return [getattr(import_module("fleetgw._speedups"), name)]
    except ImportError:
        return []


def agreed(functions: Functions, arguments: tuple[object, ...]) -> Any:
    """The result that all functions have.

    :raises Mismatch: one has another, or raises.
    """
    results = [function(*arguments) for function in functions]
    for function, result in zip(functions[1:], results[1:], strict=True):
        if result != results[0]:
            raise Mismatch(f"{functions[0].__name__}: {results[0]!r}\n{function!r}: {result!r}")
    return results[0]
