"""How a command ends that did not come to its own end."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn


def run_command(main: Callable[[], int]) -> NoReturn:
    """Leaves with `main`'s status: of a user's Ctrl-C 130, of what the disk or the system refuses
    2, each in one line. Nothing half-written stays: `models.files` and its users see to that."""
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    except BrokenPipeError:  # of `| head`; the interpreter would complain once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + 13
    except OSError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        status = 2
    raise SystemExit(status)
