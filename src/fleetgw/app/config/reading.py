"""Parses the text of a configuration into plain JSON values."""

import json
import math
import re
from collections import Counter
from typing import NoReturn

from fleetgw.adapters.settings.findings import Findings, member
from fleetgw.adapters.settings.keys import is_comment
from fleetgw.domain.errors import ConfigurationError, Problem


class _Members(dict[str, object]):
    """A JSON object, with the keys that occur more than once."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.doubled = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]


def read_json(text: str | bytes, findings: Findings) -> dict[str, object]:
    """Parse one JSON object, and remove its comments: members whose key begins with ``_`` or ``//``.

    Keys that occur twice are noted in ``findings``; the last one counts.

    :raises ConfigurationError: the text is no JSON object, or something follows the object.
    """
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        tree = json.loads(decoded, object_pairs_hook=_Members, parse_constant=_refuse_constant, parse_float=_finite)
        json.dumps(tree, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise _refusal(*_explain(error)) from error
    except UnicodeDecodeError as error:
        raise _refusal(f"is not UTF-8 (byte {error.start})", "save the file as UTF-8") from error
    except UnicodeEncodeError as error:
        raise _refusal(r"holds half of a surrogate pair (\ud800 to \udfff)", "write the character itself") from error
    except ValueError as error:  # of int()
        raise _refusal("holds a number with thousands of digits", "write a smaller one") from error
    except RecursionError as error:
        raise _refusal("is nested too deeply", "see the reference for the sections there are") from error
    if not isinstance(tree, _Members):
        raise _refusal("is not a JSON object", 'must begin with "{" and end with "}"')
    _cut_comments(tree, "", findings)
    _note_doubled_keys(tree, "", findings)
    return tree


def _refusal(what: str, fix: str) -> ConfigurationError:
    return ConfigurationError([Problem("", what, fix)])


def _refuse_constant(name: str) -> NoReturn:
    raise _refusal(f"holds {name}, which is not JSON", "write a number")


def _finite(number: str) -> float:
    if math.isinf(value := float(number)):
        raise _refusal(f"holds {number}, which no number type can hold", "write a smaller one")
    return value


def _explain(error: json.JSONDecodeError) -> tuple[str, str]:
    where = f"line {error.lineno}, column {error.colno}"
    if not error.doc.strip():
        return "is empty", "must be a JSON object"
    if error.msg == "Extra data":
        return f"something follows the JSON object at {where}", "remove what follows its closing brace"
    if error.msg.startswith("Unexpected UTF-8 BOM"):
        return "begins with a byte order mark", "save the file as UTF-8 without one"
    if error.doc.startswith(("//", "#", "/*"), error.pos):
        return f"holds a comment at {where}", "JSON has no comments: remove it"
    return f"is not JSON at {where}: {error.msg}", "correct it there or just before"


def _cut_comments(value: object, path: str, findings: Findings) -> None:
    if isinstance(value, _Members):
        if re.fullmatch(r"dispatchers\W.*\.settings", path):
            return  # a third party may use such keys
        for key in [key for key in value if is_comment(key)]:
            comment = value.pop(key)
            if path == "records" and isinstance(comment, list):
                what = "is taken as a comment: no records are routed by it"
                findings.warn(member(path, key), what, "no record type may begin with _ or //; write the comment as text")
        value.doubled = [key for key in value.doubled if not is_comment(key)]
        for key, each in value.items():
            _cut_comments(each, member(path, key), findings)
    elif isinstance(value, list):
        for each in value:
            _cut_comments(each, path, findings)


def _note_doubled_keys(value: object, path: str, findings: Findings) -> None:
    if isinstance(value, _Members):
        for key in value.doubled:
            findings.refuse(member(path, key), "is there more than once", "keep one of them")
        for key, each in value.items():
            _note_doubled_keys(each, member(path, key), findings)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            _note_doubled_keys(each, f"{path}[{index}]", findings)
