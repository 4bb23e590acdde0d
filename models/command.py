"""How every command ends: its own status, or one line of what stopped it."""

import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

Arguments = ParamSpec("Arguments")


def command(main: Callable[Arguments, int]) -> Callable[Arguments, int]:
    """A `main` that returns a status, whatever happens to it.

    A user's mistake (`ValueError`) and what the disk or the system refuses (`OSError`) are 2,
    Ctrl-C is 130, each in one line; a reader that left, as `| head` does, is 141. Nothing
    half-written stays: `models.files` and its users see to that.
    """

    @functools.wraps(main)
    def ended(*arguments: Arguments.args, **named: Arguments.kwargs) -> int:
        try:
            status = main(*arguments, **named)
            sys.stdout.flush()
            return status
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        except BrokenPipeError:  # the interpreter would complain once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + 13
        except (ValueError, OSError) as error:
            return fail(error)

    return ended


def fail(error: Exception | str, status: int = 2) -> int:
    """Says on one line what is wrong; returns the status."""
    line = " ".join(str(error).split())
    print(f"error: {line}", file=sys.stderr)
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):  # which torchrun ends its summary with
        with contextlib.suppress(OSError):
            Path(file).write_text(json.dumps({"message": line, "timestamp": int(time.time())}))
    return status
