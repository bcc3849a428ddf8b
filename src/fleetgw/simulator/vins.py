"""Plausible vehicle identification numbers."""

_LETTER_VALUES = {
    letter: value
    for value, letters in enumerate(("AJ", "BKS", "CLT", "DMU", "ENV", "FW", "GPX", "HY", "RZ"), start=1)
    for letter in letters
}
_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_LINES = (("5YJ3E1EA", "PF"), ("7SAYGDEE", "RA"), ("LRW3E7EK", "PC"), ("XP7YGCEK", "RB"))
_SERIAL_NUMBERS = 1_000_000


def check_digit(vin: str) -> str:
    """The ninth character that a 17-character VIN must have (ISO 3779 as used in North America): ``0``-``9`` or ``X``.

    The ninth character of ``vin`` itself does not matter.

    :raises ValueError: not 17 characters, or one that no VIN has (I, O, Q, lower case, ...).
    """
    if len(vin) != len(_WEIGHTS):
        raise ValueError(f"{vin!r} has {len(vin)} characters; a VIN has {len(_WEIGHTS)}")
    try:
        values = [int(character) if character in "0123456789" else _LETTER_VALUES[character] for character in vin]
    except KeyError as error:
        raise ValueError(f"{vin!r} has the character {error}; a VIN has digits and capitals without I, O and Q") from error
    remainder = sum(value * weight for value, weight in zip(values, _WEIGHTS, strict=True)) % 11
    return "X" if remainder == 10 else str(remainder)


def make_vin(number: int) -> str:
    """The VIN of the simulated vehicle ``number`` (0 to 3 999 999); each number has its own.

    :raises ValueError: the number is out of range.
    """
    serial, line = divmod(number, len(_LINES))
    if not 0 <= serial < _SERIAL_NUMBERS:
        raise ValueError(f"no VIN for vehicle {number}: there are {_SERIAL_NUMBERS * len(_LINES)}, counted from 0")
    descriptor, year_and_plant = _LINES[line]
    tail = f"{year_and_plant}{serial:06d}"
    return f"{descriptor}{check_digit(f'{descriptor}0{tail}')}{tail}"
