"""The MEDJOBS_* settings of this machine, and the environment that every service is started in."""

from __future__ import annotations

from jobs.settings import Settings, complaints
from medjobs.failing import USAGE, Trouble
from medjobs.stack.home import Home


def read_settings() -> Settings:
    """The settings in force; a bad MEDJOBS_* variable is named with what is wrong with it."""
    from pydantic import ValidationError

    try:
        return Settings.from_environment()
    except ValidationError as error:
        raise Trouble(f"The settings are wrong: {complaints(error)[0]}.", "Correct or unset it.", USAGE) from None


def redis_url(settings: Settings) -> str:
    """The Redis in force: the one that is set, else the embedded stack's own socket."""
    return settings.redis_url or f"redis+socket://{Home(settings.home).redis_socket}"


def for_service(settings: Settings) -> dict[str, str]:
    """What is added to a service's environment, which is started with the home as its working directory.

    PYTHONSAFEPATH keeps that directory off the import path, so that a folder named `models` or `db` in the directory
    where the command was typed, or in the home, never replaces ours.
    """
    return {
        "MEDJOBS_HOME": str(settings.home),
        "MEDJOBS_REDIS_URL": redis_url(settings),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }
