"""Somebody who pastes what the documentation prints, at a terminal of their own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from select import select

from docs_pages import SHELL, Block
from playwright._impl._driver import compute_driver_executable

from pgsched.adapters.embedded.binaries import find_programs

#: commands that stay in the foreground of a terminal of their own
SERVICE = re.compile(r"^(?:make up|pgsched (?:api|worker|up|status --watch)\b).*$", re.MULTILINE)
#: what is asked at a terminal, and what is typed then
ASKED = (
    (re.compile(r"(?:password|Repeat)[^\n]*: $", re.IGNORECASE), "correct horse battery"),
    (re.compile(r"\[y/N\]: $"), "y"),
)
#: seconds for a block, on a machine that does other things too
PATIENCE_S = 60.0
Change = Callable[[str], str]


class Reader:
    """One terminal after the other, in one folder; what is printed is changed as declared, then run."""

    def __init__(self, folder: Path, changed: Change, **environment: str) -> None:
        self.folder = folder
        #: what is typed instead of what is printed, whatever the page
        self.changed = changed
        # the programs of Postgres last: psql is there even where none is installed
        path = [str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        self._environment = {
            "PATH": os.pathsep.join([*path, str(find_programs().bindir)]),
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "COLUMNS": "120",
            **environment,
        }
        #: where the shell is
        self.where = folder
        # an HTTP error is a wrong page, not an answer to be shown
        (folder / ".curlrc").write_text("fail-with-body\n")

    def paste(self, block: Block, changed: Change = str, **environment: str) -> str:
        """Run a block as it is to be run and return what it printed to standard output."""
        text = changed(self.changed(block.text))
        if block.language in SHELL:
            return self._shell(block, text, environment)
        pasted = self.folder / "pasted"
        pasted.write_text(text)
        command = {
            "python": [sys.executable, "-c", text],
            "sql": ["psql", "--quiet", "-v", "ON_ERROR_STOP=1", "-f", str(pasted)],
            "js": [str(compute_driver_executable()[0]), "-e", text],
        }[block.language]
        return self._run(command, block, environment)

    def _shell(self, block: Block, text: str, environment: Mapping[str, str]) -> str:
        """Run the lines of a block; those that stay in the foreground for the time of a look."""
        services = [found[0] for found in SERVICE.finditer(text)]
        end = self.folder / "where"
        rest = SERVICE.sub("", text)
        said = self._run(["sh", "-ec", f'{rest}\npwd > "{end}"'], block, environment) if rest.strip() else ""
        if rest.strip() and block.exits == 0:
            self.where = Path(end.read_text().strip())
        for line in services:
            with self.service(line, environment):
                pass
        return said

    def _run(self, command: list[str], block: Block, environment: Mapping[str, str]) -> str:
        out = self.folder / "out"
        mine, theirs = pty.openpty()
        try:
            with out.open("wb") as output:
                process = subprocess.Popen(
                    command,
                    cwd=self.where,
                    env={**self._environment, **environment},
                    stdin=theirs,
                    stdout=output,
                    stderr=theirs,
                    start_new_session=True,
                    preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                )
            os.close(theirs)
            seen = _at_the_terminal(process, mine)
        finally:
            os.close(mine)
        printed = out.read_text()
        assert process.returncode == block.exits, f"{block}\n{block.text}\n{printed}\n{seen}"
        assert "Traceback" not in printed + seen, f"{block}\n{printed}\n{seen}"
        return printed

    @contextmanager
    def service(self, line: str, environment: Mapping[str, str] | None = None) -> Iterator[None]:
        """Run what stays in the foreground for the time of the block, then press Ctrl-C."""
        err = self.folder / "service.err"
        with err.open("wb") as complaints:
            process = subprocess.Popen(
                ["sh", "-c", f"exec {self.changed(line).strip()}"],
                cwd=self.where,
                env={**self._environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=complaints,
                stderr=subprocess.STDOUT,
            )
        try:
            yield
            # long enough to see that it starts
            while process.poll() is None and not (
                err.stat().st_size if "--watch" in line else _heeds_sigterm(process.pid)
            ):
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
        finally:
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
        said = err.read_text()
        assert process.returncode in (0, 130), f"{line}\n{said}"
        assert "Traceback" not in said


def _heeds_sigterm(pid: int) -> bool:
    """Whether a process has handlers of its own, as services have once they serve."""
    text = Path(f"/proc/{pid}/status").read_text()
    caught = int(re.search(r"^SigCgt:\s*([0-9a-f]+)$", text, re.MULTILINE)[1], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def _at_the_terminal(process: subprocess.Popen[bytes], terminal: int) -> str:
    """Answer what is asked until the process ends; return what was seen."""
    seen, answered, end = "", 0, time.monotonic() + PATIENCE_S
    while True:
        ended = process.poll() is not None
        while select([terminal], [], [], 0 if ended else 0.05)[0]:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # nobody holds the other end any more
                part = b""
            if not part:
                break
            seen += part.decode("utf-8", "replace")
        for question, answer in ASKED:
            if question.search(seen, answered):
                os.write(terminal, f"{answer}\n".encode())
                answered = len(seen)
        if ended:
            return seen
        if time.monotonic() > end:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise AssertionError(f"does not end: {seen}")
        time.sleep(0.01)
