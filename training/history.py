"""history.jsonl: one JSON object a line, appended as training goes."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class History:
    """Writes on the main process only; knows its length, so that a resumed run can cut it back."""

    def __init__(self, path: Path, enabled: bool) -> None:
        self.path = path
        self.enabled = enabled

    def cut(self, length: int) -> None:
        """Drop what lies after `length` bytes: lines of steps that are about to be done again."""
        if self.enabled:
            with self.path.open("ab") as file:
                file.truncate(length)

    def column(self, kind: str, name: str) -> list[Any]:
        """One figure of all lines of a kind."""
        with self.path.open(encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        return [line[name] for line in lines if line["kind"] == kind]

    def write(self, line: Mapping[str, object]) -> int:
        """Append a line, and return the length of the file in bytes after it."""
        if not self.enabled:
            return 0
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
            return file.tell()
