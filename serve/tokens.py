"""TorchServe's key file: the tokens of its three doors, and when they expire.

TorchServe writes the file in place, not whole at once, and anew when a token is refreshed.
"""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

KEY_FILE = "key_file.json"


@dataclass(frozen=True, repr=False)  # no repr: tokens must not reach a log
class Tokens:
    """`inference` and `management` open their doors until they expire; `api` refreshes them."""

    inference: str
    management: str
    api: str
    inference_expires: datetime
    management_expires: datetime


def read_tokens(path: Path, patience: float = 2.0) -> Tokens:
    """The tokens in a key file; waits up to `patience` seconds for one that is being written.

    Raises:
        FileNotFoundError, ValueError: there is none; it may not be read, or is no key file.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return _parse(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            if time.monotonic() > deadline:
                raise FileNotFoundError(
                    f"token file {path}: not there; give the one that `python -m serve` names"
                ) from None
        except OSError as error:  # no right to read it, or a folder: waiting helps with neither
            raise ValueError(f"token file {path}: cannot be read ({error.strerror})") from None
        except (ValueError, KeyError, TypeError):  # no values: they would be in a traceback
            if time.monotonic() > deadline:
                raise ValueError(f"token file {path}: not a TorchServe key file") from None
        time.sleep(0.02)


def _parse(text: str) -> Tokens:
    content = json.loads(text)
    return Tokens(
        inference=content["inference"]["key"],
        management=content["management"]["key"],
        api=content["API"]["key"],
        inference_expires=_time(content["inference"]["expiration time"]),
        management_expires=_time(content["management"]["expiration time"]),
    )


def _time(text: str) -> datetime:
    whole, _, fraction = text.removesuffix("Z").partition(".")
    moment = datetime.fromisoformat(whole).replace(tzinfo=UTC)
    return moment.replace(microsecond=int(fraction[:6].ljust(6, "0") or 0))
