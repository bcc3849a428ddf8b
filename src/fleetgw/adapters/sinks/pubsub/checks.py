"""Sense checks of the section ``pubsub``."""

from fleetgw.adapters.settings.checking import SettingsCheck
from fleetgw.adapters.sinks.pubsub.settings import Pubsub


def check_pubsub(pubsub: Pubsub, check: SettingsCheck) -> None:
    """Check that a project is named, and that the environment names an emulator or credentials, not both."""
    if not pubsub.gcp_project_id:
        check.refuse("gcp_project_id", "is missing", "name the project that owns the topics")
    credentials = check.surroundings.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    if credentials and check.surroundings.environ.get("PUBSUB_EMULATOR_HOST"):
        check.refuse(
            "",
            "both PUBSUB_EMULATOR_HOST and GOOGLE_APPLICATION_CREDENTIALS are set",
            "unset one of these environment variables",
        )
    elif credentials and not (check.surroundings.base_dir / credentials).is_file():
        check.refuse(
            "", f"GOOGLE_APPLICATION_CREDENTIALS names {credentials}, which does not exist", "name a file that does"
        )
