"""The keys of a configuration as JSON Schema, and as tables for the documentation."""

import json
import typing
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec

from fleetgw.adapters.secrets.secret import Secret
from fleetgw.adapters.settings.keys import COMMENT_PATTERN
from fleetgw.adapters.settings.values import SECRET_FORMS, fields_of
from fleetgw.adapters.settings.wording import bare, type_name
from fleetgw.adapters.sinks.registry import AnySinkType, installed_sinks, load
from fleetgw.app.config.on_reload import OnReload, effect_of
from fleetgw.app.config.sections import Config
from fleetgw.domain.errors import ConfigurationError

BEGIN = "<!-- reference: begin; written by python -m fleetgw.app.config FILE -->"
END = "<!-- reference: end -->"


def json_schema() -> dict[str, object]:
    """The JSON Schema (2020-12) of a configuration file."""
    schema = deepcopy(msgspec.json.schema(Config, schema_hook=_schema_of))  # secrets share one schema
    for name, entry_point in installed_sinks().third_party.items():
        with suppress(ConfigurationError):  # one that cannot be imported has no settings to show
            _add_third_party(schema["$defs"], name, load(entry_point, name))
    _allow_comments(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of fleetgw",
        **schema,
    }


def _add_third_party(definitions: Any, name: str, sink: AnySinkType) -> None:  # parts of a JSON Schema
    """Add the settings of an installed sink to ``dispatchers``."""
    (settings,), sections = msgspec.json.schema_components(
        [sink.settings], schema_hook=_schema_of, ref_template=f"#/$defs/{name}.{{name}}"
    )
    definitions.update({f"{name}.{section}": each for section, each in deepcopy(sections).items()})
    dispatcher = deepcopy(definitions["Dispatcher"])
    dispatcher["properties"]["settings"] = {"description": sink.meaning or f"The sink `{name}`.", **settings}
    definitions[f"{name}.Dispatcher"] = dispatcher
    definitions["Config"]["properties"]["dispatchers"].setdefault("properties", {})[name] = {
        "$ref": f"#/$defs/{name}.Dispatcher"
    }


def _allow_comments(node: Any) -> None:  # a part of a JSON Schema
    """Allow comments in every object: members whose key begins as those of comments do."""
    if isinstance(node, dict):
        for each in node.values():
            _allow_comments(each)
        if node.get("type") == "object" and "additionalProperties" in node:
            node["patternProperties"] = {COMMENT_PATTERN: {"description": "A comment."}}
    elif isinstance(node, list):
        for each in node:
            _allow_comments(each)


def _schema_of(kind: type) -> dict[str, Any]:  # a part of a JSON Schema
    if kind is Secret:
        return SECRET_FORMS
    if kind is Path:
        return {"type": "string"}
    raise NotImplementedError(kind)


def reference() -> str:
    """Every key with its type, default and meaning: one Markdown table for each section."""
    return "\n".join(_tables("", Config)).strip() + "\n"


def with_reference(document: str) -> str:
    """A document with current tables between its markers.

    :raises ValueError: the document has no markers.
    """
    before, _, rest = document.partition(BEGIN)
    _, marker, after = rest.partition(END)
    if not marker:
        raise ValueError(f"needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


def _tables(path: str, section: type[msgspec.Struct], around: OnReload = OnReload.RESTART) -> list[str]:
    title = f"### `{path}`" if path else "### The top level"
    lines = [title, "", str(section.__doc__), "", "| key | type | default | reload | meaning |", "|---|---|---|---|---|"]
    below: list[str] = []
    for field in fields_of(section):
        inner_path, inner = _inner(f"{path}.{field.encode_name}" if path else field.encode_name, field.type)
        kind = f"[section](#{_anchor(inner_path)})" if inner else type_name(field.type)
        effect = effect_of(field.type, around)
        lines.append(f"| `{field.encode_name}` | {kind} | {_default(field)} | {effect.value} | {_meaning(field.type)} |")
        if inner:
            below += _tables(inner_path, inner, effect)
    return [*lines, "", *below]


def _inner(path: str, kind: Any) -> tuple[str, type[msgspec.Struct] | None]:  # a type annotation of any form
    """The path and the type of the section that a key holds; of an object of sections, those of its values."""
    plain = bare(kind)
    if typing.get_origin(plain) is dict:
        return _inner(f"{path}.<name>", typing.get_args(plain)[1])
    return (path, plain) if isinstance(plain, type) and issubclass(plain, msgspec.Struct) else (path, None)


def _anchor(path: str) -> str:
    return path.translate(str.maketrans("", "", ".<>"))


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if field.default is None or field.default_factory not in (msgspec.NODEFAULT, dict, list):
        return ""
    default = {} if field.default is msgspec.NODEFAULT else field.default
    return f"`{json.dumps(default)}`"


def _meaning(kind: Any) -> str:  # a type annotation of any form
    return next(each.description for each in typing.get_args(kind) if isinstance(each, msgspec.Meta) and each.description)
