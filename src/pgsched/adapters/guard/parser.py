"""Postgres's parser (libpg_query through postgast) behind bounds that hold for any text.

Three things end a process or its memory when the parser is called plainly: it recurses over the tree in
C (30,000 terms of ``1+1+…`` overflow a normal stack), the decoder of its trees refuses more than about
48 nested operators unless told otherwise, and its scanner is quadratic in runs of operator characters.
So it runs in a thread with a stack of its own, with the decoder opened up, on text that was bounded.
"""

from __future__ import annotations

import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from pgsched.domain.sql_guard import MAX_OPERATOR_RUN, MAX_SQL_BYTES, Rule

if TYPE_CHECKING:
    from collections.abc import Callable

#: bytes of stack for the parsing thread; the deepest tree MAX_SQL_BYTES can hold needs 24 MB
STACK_BYTES = 64 << 20

_T = TypeVar("_T")
_UNREADABLE = re.compile("[\0\ud800-\udfff]")
_OPERATOR_RUN = re.compile(r"[-+*/<>=~!@#%^&|`?]{" + str(MAX_OPERATOR_RUN + 1) + ",}")


class Fault(Exception):
    """The text is refused: which rule it breaks, why, and where."""

    def __init__(self, rule: Rule, detail: str, position: int | None) -> None:
        super().__init__(detail)
        self.rule = rule
        self.detail = detail
        #: 1-based character position, None when it has none
        self.position = position


def bounded(sql: str) -> bytes:
    """Return the text as UTF-8 when the parser may see it.

    Raises:
        Fault: too long, unreadable characters, or a run of operator characters that stalls the scanner.
    """
    too_long = Fault(
        Rule.TOO_LONG,
        f"the text is longer than {MAX_SQL_BYTES} bytes; put the logic into a view and select from that",
        None,
    )
    if len(sql) > MAX_SQL_BYTES:
        raise too_long
    if found := _UNREADABLE.search(sql):
        raise Fault(
            Rule.BAD_CHARACTERS,
            f"the text holds U+{ord(found[0]):04X}, which Postgres cannot store; remove it",
            found.start() + 1,
        )
    encoded = sql.encode()
    if len(encoded) > MAX_SQL_BYTES:
        raise too_long
    if found := _OPERATOR_RUN.search(sql):
        raise Fault(
            Rule.TOO_COMPLEX,
            f"more than {MAX_OPERATOR_RUN} operator characters in a row; shorten the run",
            found.start() + 1,
        )
    return encoded


def parse(sql: str) -> Any:
    """Return postgast's ``ParseResult`` of a bounded text; call it inside BigStack.run.

    Raises:
        Fault: the grammar refuses it, or its nesting passes what the parser or the decoder follow.
    """
    import postgast
    from google.protobuf.message import DecodeError

    try:
        return postgast.parse(sql)
    except postgast.PgQueryError as error:
        position = error.cursorpos or None  # the parser counts characters here, bytes in its tree
        if error.message.startswith(("memory exhausted", "stack depth")):
            raise Fault(Rule.TOO_DEEP, _TOO_DEEP, position) from None
        raise Fault(Rule.SYNTAX_ERROR, error.message, position) from None
    except (DecodeError, RecursionError):
        raise Fault(Rule.TOO_DEEP, _TOO_DEEP, None) from None


class BigStack:
    """One lasting thread with STACK_BYTES of stack that runs what it is given, in turn.

    A thread for each statement would start slower, and the parser keeps memory for each thread that ends.
    Safe to call from any thread; a process forked off starts a thread of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._pid = 0

    def run(self, work: Callable[[], _T]) -> _T:
        """Run ``work`` there and return, or raise, what it does."""
        return self._executor().submit(work).result()

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._thread is None or self._pid != os.getpid():
                self._pid = os.getpid()
                self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sql-guard")
                before = threading.stack_size(STACK_BYTES)
                try:
                    self._thread.submit(_open_decoder).result()  # a thread starts with its first work
                finally:
                    threading.stack_size(before)
            return self._thread


_TOO_DEEP = "the statement is nested too deeply; split it into views or shorten the expression"


def _open_decoder() -> None:
    # Without this the decoder stops at 100 nested messages, 48 operators. Where the C decoder is missing,
    # Python's recursion limit ends it instead, and the statement is refused as too deep.
    import postgast  # noqa: F401
    from google.protobuf.internal import api_implementation

    decoder: Any = getattr(api_implementation, "_c_module", None)
    if hasattr(decoder, "SetAllowOversizeProtos"):
        decoder.SetAllowOversizeProtos(True)
