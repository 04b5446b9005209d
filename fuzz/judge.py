"""The guard as a user runs it: ``pgsched sql check --jsonl``, twice, in processes that may not grow."""

from __future__ import annotations

import json
import resource
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

#: most address space of a judging process, bytes: its own, the 64 MB stack, and the worst text's tree
MEMORY = 2 << 30
#: seconds that one statement may take; the worst text of the greatest length takes two
PATIENCE_S = 30.0


class GuardFault(Exception):
    """The guard died, hung, or answered what cannot be."""

    def __init__(self, why: str, sql: str) -> None:
        super().__init__(why)
        self.why = why
        self.sql = sql


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What the guard said of a statement."""

    #: whether a new source would run it
    is_allowed: bool
    #: whether a source that allows built-in functions only would
    is_built_in: bool
    #: the rule it breaks, None when allowed
    code: str | None


class Judge:
    """Two lasting processes: as a new source judges, and with built-in functions only."""

    def __enter__(self) -> Judge:
        self._processes = [_Process(), _Process("--no-user-functions")]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.end()

    def verdicts(self, statements: Sequence[str]) -> list[Judged]:
        """Judge statements.

        Raises:
            GuardFault: for the first statement that the guard did not judge as it should.
        """
        usual, strict = (process.answers(statements) for process in self._processes)
        judged = []
        for sql, one, other in zip(statements, usual, strict, strict=True):
            if other["allowed"] and not one["allowed"]:
                raise GuardFault("allowed without user functions and refused with them", sql)
            judged.append(Judged(is_allowed=one["allowed"], is_built_in=other["allowed"], code=one["code"]))
        return judged


class _Process:
    def __init__(self, *options: str) -> None:
        self._options = options
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pgsched", "sql", "check", "--jsonl", *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        )

    def answers(self, statements: Sequence[str]) -> list[dict[str, object]]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None

        def write() -> None:
            try:
                for sql in statements:
                    stdin.write(json.dumps({"sql": sql}).encode() + b"\n")
                stdin.flush()
            except BrokenPipeError:
                pass  # the reader below tells

        writer = threading.Thread(target=write)
        writer.start()
        found = []
        try:
            for sql in statements:
                if not stdout.peek(1) and not select.select([stdout], [], [], PATIENCE_S)[0]:
                    raise GuardFault(f"no answer within {PATIENCE_S:g} s", sql)
                line = stdout.readline()
                if not line:
                    raise GuardFault(f"the process ended with {self._process.wait()}", sql)
                found.append(_checked(sql, json.loads(line)))
        except GuardFault:
            self.end()
            writer.join()
            self._start()
            raise
        writer.join()
        return found

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def _checked(sql: str, answer: dict[str, object]) -> dict[str, object]:
    place = answer["position"]
    if answer["allowed"] != (answer["code"] is None):
        raise GuardFault(f"a verdict that contradicts itself: {answer}", sql)
    if place is not None and not (isinstance(place, int) and 1 <= place <= len(sql) + 1):
        raise GuardFault(f"a position outside the text: {place}", sql)
    if not isinstance(answer["detail"], str) or not answer["detail"].isprintable():
        raise GuardFault(f"a detail that cannot be shown: {answer['detail']!r}", sql)
    return answer
