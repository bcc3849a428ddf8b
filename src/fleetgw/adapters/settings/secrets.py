"""References to secrets: environment variables and files that a configuration names."""

from typing import Any

from fleetgw.adapters.secrets.masking import is_secret_name
from fleetgw.adapters.secrets.secret import Secret, SecretFile, UnusableSecretFile
from fleetgw.adapters.settings.findings import Findings, member
from fleetgw.adapters.settings.surroundings import Surroundings

FORMS = 'must be text, {"env": "NAME"} or {"file": "path"}'


def is_reference(value: object) -> bool:
    """Whether a value has the form of a reference to a secret: ``{"env": "NAME"}`` or ``{"file": "path"}``."""
    return isinstance(value, dict) and list(value) in (["env"], ["file"]) and isinstance(next(iter(value.values())), str)


def read_secret(value: object, path: str, findings: Findings, surroundings: Surroundings) -> Secret | None:
    """Secret that a value is or refers to; None, with a problem reported, when there is none."""
    secret = _secret(value, path, findings, surroundings)
    if secret is not None:
        findings.hide(secret)
    return secret


def _secret(value: object, path: str, findings: Findings, surroundings: Surroundings) -> Secret | None:
    match value:
        case Secret():
            return value  # resolved already; it may be a SecretFile
        case str():
            return Secret(value)
        case {"env": str(name), **rest} if not rest:
            if text := surroundings.environ.get(name, ""):
                return Secret(text)
            findings.refuse_value(path, f"environment variable {name} is not set", "set it, or name another one")
        case {"file": str(name), **rest} if not rest:
            try:
                return SecretFile.read(surroundings.base_dir / name)
            except UnusableSecretFile as error:
                findings.refuse_value(path, f"{name} {error.what}", error.fix)
        case _:
            findings.refuse_value(path, "is no secret", FORMS)
    return None


def with_secrets(
    settings: Any, path: str, findings: Findings, surroundings: Surroundings, *, is_secret: bool = False
) -> Any:
    """Free-form settings with every reference resolved, and every text under the name of a secret made a ``Secret``.

    :param settings: any JSON value, therefore ``Any``; it is not changed.
    :param is_secret: whether a key above it is the name of a secret.
    """
    if is_reference(settings):
        return read_secret(settings, path, findings, surroundings)
    if isinstance(settings, dict):
        return {
            key: with_secrets(value, member(path, key), findings, surroundings, is_secret=is_secret or is_secret_name(key))
            for key, value in settings.items()
        }
    if isinstance(settings, list):
        return [
            with_secrets(each, f"{path}[{index}]", findings, surroundings, is_secret=is_secret)
            for index, each in enumerate(settings)
        ]
    return read_secret(settings, path, findings, surroundings) if is_secret and isinstance(settings, str) else settings
