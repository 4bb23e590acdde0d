"""The hub's client, without its line for every retry: what failed is said once, by the caller."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

PATIENCE = 5.0  # seconds for a first answer, before the client's own retries are let loose


@cache
def hub_answers() -> bool:
    """Whether the hub is there at all: asked once, without retries, by the proxy if there is one.

    Its client tries each file five times or more, which takes over half a minute without a network.
    HF_HUB_OFFLINE=1 makes it false without asking.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception:  # the client raises a dozen kinds, which differ by version
        return False
    return True


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Errors only, while the hub is asked; they come as exceptions too."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def fetch(name: str, filename: str, absent: str, otherwise: str) -> Path:
    """A file of a hub repository, from the hub's cache where it is there.

    Args:
        absent: what was looked for here and not found, for the message.
        otherwise: what the user can do without the hub.

    Raises:
        ValueError: not to be had; one line.
    """
    from huggingface_hub import hf_hub_download  # not for those who read a folder

    try:
        with quiet_hub():
            return Path(hf_hub_download(name, filename, local_files_only=not hub_answers()))
    except Exception as error:  # the hub's client raises a dozen kinds, which differ by version
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if not hub_answers():
            reason = "it does not answer"
        raise ValueError(
            f"{absent}, and not to be had from the hub ({reason}); {otherwise}"
        ) from error
