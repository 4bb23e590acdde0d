"""What is wrong with a request or with one of its items: a status, a code, a message, a field."""

import logging
import traceback
from pathlib import Path
from typing import Any


class Problem(Exception):
    """A request, or one item of it, that cannot be answered.

    Args:
        status: the HTTP status: 400, 413, 415 or 422; 500 where we failed.
        code: what a program tells apart, such as "too_many_items".
        message: what a person reads. Never the text that was sent: messages reach logs.
        field: where in the request, such as "instances[3].text"; empty for the whole of it.
    """

    def __init__(self, status: int, code: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.field = status, code, message, field

    def as_dict(self) -> dict[str, Any]:
        """The error's JSON object."""
        return {
            "error": {
                "status": self.status,
                "code": self.code,
                "message": self.message,
                "field": self.field,
            }
        }


def internal_problem(error: Exception) -> Problem:
    """Ours, not the caller's: said without the error's message, which may quote what was sent; the
    log gets its kind and place."""
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f" at {Path(each.filename).name}:{each.lineno}" for each in place)
    logging.getLogger(__name__).error("a request failed: %s%s", type(error).__name__, where)
    return Problem(
        500, "internal_error", "it could not be answered; the worker's log has the kind of error"
    )
