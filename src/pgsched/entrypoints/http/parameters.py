"""Path and query parameters read strictly: a fault is 400 and names its parameter, never a guess."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from datetime import datetime

from pgsched.domain.errors import FieldFault, InvalidInput, NotFound
from pgsched.domain.instants import FORM, instant_of
from pgsched.domain.names import NAME
from pgsched.domain.runs import RunStatus

MOST_ITEMS = 500
DEFAULT_ITEMS = 50

#: most characters of a text that is looked for, and what it may hold
LONGEST_TEXT = 300
VISIBLE = re.compile(r"[^\x00-\x1f\x7f-\x9f]*")

_LARGEST_ID = 2**63 - 1


def query_key(text: str) -> str | int:
    """Read ``{qid}``: digits are an id, anything else a name.

    Raises:
        NotFound: it can be neither.
    """
    return named_key("query", text)


def named_key(noun: str, text: str) -> str | int:
    """Read the id or the name of something that has both: digits are an id.

    Raises:
        NotFound: it can be neither.
    """
    if _is_digits(text):
        return _id(text, noun)
    if NAME.fullmatch(text):
        return text
    raise NotFound(noun, shown(text))


def run_key(text: str) -> int:
    """Read ``{run_id}``.

    Raises:
        NotFound: it cannot be one.
    """
    return id_key("run", text)


def id_key(noun: str, text: str) -> int:
    """Read the id of something that has no name.

    Raises:
        NotFound: it cannot be one.
    """
    if _is_digits(text):
        return _id(text, noun)
    raise NotFound(noun, shown(text))


def _id(text: str, noun: str) -> int:
    if len(text) > 40 or (value := int(text)) > _LARGEST_ID:
        raise NotFound(noun, shown(text))
    return value


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def shown(text: str) -> str:
    """Make what a caller sent fit for an answer and a log: short, on one line, printable."""
    return ascii(text if len(text) <= 80 else text[:80] + "…")[1:-1]


class Faults:
    """Collects what is wrong with the parameters of one request, so that all is told at once."""

    def __init__(self) -> None:
        self._faults: list[FieldFault] = []

    def __enter__(self) -> Faults:
        """Begin collecting."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Raise InvalidInput when there was a fault."""
        if kind is None:
            self.refuse()

    def refuse(self) -> None:
        """Raise InvalidInput when there was a fault so far: before what would hide it."""
        if self._faults:
            raise InvalidInput.of(*self._faults)

    def add(self, field: str, message: str) -> None:
        """Note a fault."""
        self._faults.append(FieldFault(field=field, message=message))

    def limit(self, text: str | None) -> int:
        """Read ``limit``: 1 to 500, 50 when absent."""
        return self._number("limit", text, default=DEFAULT_ITEMS, least=1, most=MOST_ITEMS)

    def offset(self, text: str | None) -> int:
        """Read ``offset``: 0 when absent."""
        return self._number("offset", text, default=0, least=0, most=_LARGEST_ID)

    def _number(self, field: str, text: str | None, *, default: int, least: int, most: int) -> int:
        if text is None:
            return default
        if _is_digits(text) and len(text) <= 40 and least <= int(text) <= most:
            return int(text)
        self.add(field, f"must be a whole number from {least} to {most}, not {shown(text) or 'empty'}")
        return default

    def run_id(self, field: str, text: str | None) -> int | None:
        """Read ``before`` or ``after``, a run's id; one beyond 64 bits is no run at all (NotFound)."""
        if text is None:
            return None
        if _is_digits(text):
            return _id(text, "run")
        self.add(field, f"must be the id of a run, not {shown(text) or 'empty'}")
        return None

    def instant(self, field: str, text: str | None) -> datetime | None:
        """Read an RFC 3339 time with its offset; what has none is refused rather than guessed at."""
        if text is None:
            return None
        if (read := instant_of(text)) is not None:
            return read
        self.add(field, f"must be {FORM}, not {shown(text) or 'empty'}")
        return None

    def text(self, field: str, text: str | None) -> str | None:
        """Read a text to compare with: at most 300 characters, none of them a control character."""
        if text is not None and (len(text) > LONGEST_TEXT or not VISIBLE.fullmatch(text)):
            self.add(field, f"must be at most {LONGEST_TEXT} characters without control characters")
            return None
        return text

    def status(self, text: str | None, *, default: RunStatus | None) -> RunStatus | None:
        """Read ``status``: one of the statuses, or ``any`` (None)."""
        if text is None:
            return default
        if text == "any":
            return None
        try:
            return RunStatus(text)
        except ValueError:
            known = ", ".join(status.value for status in RunStatus)
            self.add("status", f"must be any or one of {known}, not {shown(text) or 'empty'}")
            return default

    def params(self, text: str | None) -> str | None:
        """Read ``params``: the name of a parameter set."""
        if text is None or NAME.fullmatch(text):
            return text
        self.add("params", f"must be the name of a parameter set, not {shown(text) or 'empty'}")
        return None

    def rows(self, text: str | None) -> tuple[int, int | None]:
        """Read ``rows``: ``offset,limit``."""
        if text is None:
            return 0, None
        first, _, second = text.partition(",")
        if _is_digits(first) and _is_digits(second) and len(text) < 40:
            offset, limit = int(first), int(second)
            if max(offset, limit) <= _LARGEST_ID:
                return offset, limit
        self.add("rows", f"must be offset,limit such as 0,1000, not {shown(text) or 'empty'}")
        return 0, None

    def columns(self, texts: Sequence[str]) -> tuple[str, ...] | None:
        """Read ``columns``: names joined by commas; with a comma, a quote or a line end quoted as in CSV."""
        if not texts:
            return None
        names: dict[str, None] = {}
        for text in texts:
            try:
                # a line may end inside quotes alone
                lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
            except csv.Error:
                lines = []
            if text.endswith(("\r", "\n")):
                lines = []
            if len(lines) != 1 or not lines[0] or not all(lines[0]):
                self.add("columns", f"must be names joined by commas, not {shown(text) or 'empty'}")
                return None
            names |= dict.fromkeys(lines[0])
        return tuple(names)

    def choice(self, field: str, text: str | None, known: tuple[str, ...]) -> str | None:
        """Read a parameter that takes one of a few words."""
        if text is not None and text not in known:
            self.add(field, f"must be one of {', '.join(known)}, not {shown(text) or 'empty'}")
        return text

    def flag(self, field: str, text: str | None) -> bool | None:
        """Read a yes or no: 1 or true, 0 or false; None when absent."""
        if text is None:
            return None
        if text in ("1", "true", "0", "false"):
            return text in ("1", "true")
        self.add(field, f"must be 1, true, 0 or false, not {shown(text) or 'empty'}")
        return None

    def include_result(self, text: str | None) -> bool:
        """Read ``include``: ``result`` is all there is to include."""
        if text not in (None, "result"):
            self.add("include", f"can only be result, not {shown(text or '') or 'empty'}")
        return text == "result"
