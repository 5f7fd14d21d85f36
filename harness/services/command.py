"""A command that starts a service: its words, without a shell, and whether there is such a program."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.units import quoted

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z_0-9]*)=(.*)", re.DOTALL)
_SHELL_WORDS = {"&&", "||", "|", ";", "&", ">", ">>", "<", "2>", "2>&1", "&>"}
_NO_SHELL = "there is no shell: put it into a script, or write sh -c '...'"
_PORT_HINT = "write {port} where the port belongs: 'uvicorn app:app --port {port}' or 'PORT={port} ./serve'"


@dataclass(frozen=True, slots=True)
class Start:
    """How to start the service. `{port}` in the command becomes a free port; it is also in the environment as PORT."""

    command: str
    ready: str | None = None  # a path such as /readyz that has to answer 2xx; None: a TCP connect is enough
    ready_within_s: float = 60.0
    cwd: Path | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """A command as words, with its leading NAME=VALUE words apart."""

    words: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]

    def with_port(self, port: int) -> Parsed:
        """The same with `{port}` replaced."""
        words = tuple(_placed(word, port) for word in self.words)
        return Parsed(words, tuple((name, _placed(value, port)) for name, value in self.environment))


def parse_command(text: str) -> Parsed:
    """Words as a shell reads them, without a shell. Raises UsageError: nothing to run, no `{port}`, shell syntax."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        problem = "a quote is not closed" if "quotation" in str(error) else str(error).lower()
        raise UsageError(f"the command {quoted(text)} cannot be read: {problem}", "check its quotes") from None
    if "\0" in text:
        raise UsageError("the command has a NUL character in it", "write it again by hand")
    environment: list[tuple[str, str]] = []
    while words and (match := _ASSIGNMENT.fullmatch(words[0])):
        environment.append((match[1], match[2]))
        del words[0]
    if not words:
        raise UsageError(f"the command {quoted(text)} names no program", _PORT_HINT)
    shell = next((word for word in words if word in _SHELL_WORDS), None)
    if shell is not None:
        raise UsageError(f"the command {quoted(text)} uses {quoted(shell)}, which only a shell knows", _NO_SHELL)
    if not any("{port}" in word for word in (*words, *(value for _, value in environment))):
        raise UsageError(f"the command {quoted(text)} does not say where the port goes", _PORT_HINT)
    return Parsed(tuple(words), tuple(environment))


def check_program(program: str, environ: Mapping[str, str], cwd: Path | None) -> None:
    """Raises UsageError when there is no such program, or it is none."""
    if "/" not in program:
        if shutil.which(program, path=environ.get("PATH")) is None:
            raise UsageError(f"the program {quoted(program)} is not found", "install it, or give its path")
        return
    path = (cwd or Path()) / program  # where it is looked for: the folder is entered before the program is started
    if not path.is_file():
        hint = "~ and $NAME are not replaced: there is no shell" if program[0] in "~$" else "check its path"
        raise UsageError(f"the program {quoted(program)} is not found", hint)
    if not os.access(path, os.X_OK):
        raise UsageError(f"the program {quoted(program)} is not executable", f"chmod +x {shlex.quote(str(path))}")


def _placed(text: str, port: int) -> str:
    return text.replace("{port}", str(port))
