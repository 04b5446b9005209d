"""Masking of secrets before anything is written to a log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

#: what stands in place of a secret
MASK = "***"

#: keys that are secret whatever REDACT_KEYS says
_ALWAYS = ("password", "authorization", "cookie", "set-cookie", "sid")
#: what else a text with a secret in it has
_SIGNS = ("://", "bearer", "pgs_")
#: deepest nesting that is looked into; what is deeper is masked as a whole
_DEEPEST = 12


class Redactor:
    """Masks the values of secret keys at any depth, and what looks like a secret inside text.

    A key counts without letter case, and by its end: ``password`` covers ``db_password`` and ``dbPassword``.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        """Take REDACT_KEYS."""
        known = {_plain(key) for key in (*keys, *_ALWAYS)}
        self._ends = tuple(sorted(known))
        self._signs = (*_SIGNS, *self._ends)
        self._hint, self._rules = _text_rules(self._ends)

    def secret(self, key: object) -> bool:
        """Whether the value under a key must be masked."""
        if isinstance(key, bytes):
            key = key.decode("latin-1")
        return isinstance(key, str) and _plain(key).endswith(self._ends)

    def value(self, value: Any, depth: int = 0) -> Any:
        """Copy mappings and sequences with their secrets masked; other objects are returned as they are."""
        if isinstance(value, str):
            return self.text(value)
        if not isinstance(value, (Mapping, list, tuple, set, frozenset)):
            return value
        if depth >= _DEEPEST:
            return MASK
        if isinstance(value, Mapping):
            return {
                key: MASK if self.secret(key) else self.value(inner, depth + 1)
                for key, inner in value.items()
            }
        # a header as a pair, the way ASGI has them
        if isinstance(value, tuple) and len(value) == 2 and self.secret(value[0]):
            return (value[0], MASK)
        inner = [self.value(item, depth + 1) for item in value]
        return tuple(inner) if isinstance(value, tuple) else inner

    def text(self, text: str) -> str:
        """Mask passwords in connection strings, ``key=value`` pairs, Authorization headers and cookies."""
        if not self._may_hold_a_secret(text):
            return text
        for rule in self._rules:
            text = rule.sub(_masked, text)
        return text

    def _may_hold_a_secret(self, text: str) -> bool:
        if text.isascii():
            # far cheaper than a pattern that minds no case, which other letters need (ſ is an s)
            plain = _plain(text)
            return any(sign in plain for sign in self._signs)
        return self._hint.search(text) is not None


def _masked(match: re.Match[str]) -> str:
    """Keep group 1 and the quotes of what follows it, so that JSON stays JSON."""
    quoted = re.fullmatch(r"(b?[\"']).*[\"']", match[0][len(match[1]) :], re.DOTALL)
    return f"{match[1]}{quoted[1]}{MASK}{quoted[1][-1]}" if quoted else f"{match[1]}{MASK}"


def _plain(key: str) -> str:
    return key.lower().replace("-", "_")


def _text_rules(ends: Iterable[str]) -> tuple[re.Pattern[str], tuple[re.Pattern[str], ...]]:
    """Build the patterns; group 1 of each is what stays, what follows it is masked."""
    # longest first: an alternation takes the first that fits
    names = "|".join(re.escape(key).replace("_", "[-_]") for key in sorted(ends, key=len, reverse=True))
    # the first alternative is a string within a string, whose quotes are escaped: JSON inside JSON
    value = r"""(?:\\+"[^"]*"|b?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\]|\\.)*'|\S+)"""
    rules = (
        # scheme://user:password@: as far as it goes, since a password may hold @ / and : when badly written;
        # host:port/path is left alone
        r"(://[^\s/:@]*:)(?![0-9]{1,5}(?:[/?#\s]|$))\S{1,2048}(?=@)",
        # the rest of a header's line, since it holds blanks and several secrets
        r"((?:authorization|cookie)b?[\"']?\s*[:=,]\s*b?[\"']?)[^\"'\r\n]+",
        r"(\bbearer\s+)[A-Za-z0-9._~+/=-]{6,}",
        # a token of pgsched's own, wherever it turns up
        r"(\bpgs_)[A-Za-z0-9]{20,}",
        # key=value, "key": "value", and SQL's PASSWORD 'value'
        rf"((?:{names})\\*[\"']?(?:\s*(?:=>|[:=])\s*|\s+(?='))){value}",
    )
    hint = re.compile("|".join((*_SIGNS, names)), re.IGNORECASE)
    return hint, tuple(re.compile(rule, re.IGNORECASE) for rule in rules)
