"""Statements made of other statements: cut, swapped, wrapped, disguised."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

from pgsched.adapters.guard.grammar import builtin_catalog
from pgsched.domain.sql_functions import REFUSED_BUILTINS

CORPUS = [
    line
    for line in (Path(__file__).parent / "corpus.sql").read_text().splitlines()
    if line and not line.startswith("--")
]
_TOKEN = re.compile(
    r"\s+|[A-Za-z_][A-Za-z0-9_]*|'(?:[^']|'')*'|\"[^\"]*\"|\$\$.*?\$\$|[0-9.]+|[^\sA-Za-z0-9]", re.S
)
_FRAGMENTS = [
    *(
        "'",
        '"',
        "$$",
        "--",
        "/*",
        "*/",
        ";",
        "\\",
        "(",
        ")",
        "[",
        "]",
        ",",
        ".",
        "::",
        ":=",
        "=>",
        "\n",
        "\0",
        "é",
    ),
    *(
        "\u0130",
        "\u212a",
        "\ufeff",
        "\u00a0",
        "\u200b",
        "\ud800",
        "😀",
        "\x0b",
        "\x85",
        "U&'",
        "E'",
        "B'",
        "$1",
        "$a$",
    ),
    *(
        " FOR UPDATE",
        " INTO stolen",
        "; DELETE FROM orders",
        "COMMIT;",
        " RETURNING *",
        " WITH HOLD",
        " UNION ALL ",
    ),
    *("nextval('canary_seq')", "sneak()", "lo_create(0)", "pg_notify('canary', 'x')", "pg_advisory_lock(7)"),
    *("(canary_seq).nextval", "('canary_seq'::regclass).nextval", "set_config('work_mem', '1MB', false)"),
    *(
        "txid_current()",
        "query_to_xml('delete from orders', true, true, '')",
        "pg_ls_dir('.')",
        "ARRAY[",
        "(SELECT ",
    ),
    *(
        "WITH x AS (DELETE FROM orders RETURNING *) ",
        "EXPLAIN ",
        "LATERAL ",
        "ROWS FROM (",
        "OPERATOR(public.+)",
    ),
]
_WRAPS = [
    "SELECT * FROM ({}) x",
    "WITH x AS ({}) SELECT * FROM x",
    "SELECT ({})",
    "SELECT EXISTS ({})",
    "({})",
    "SELECT ARRAY({})",
    "({}) UNION ALL ({})",
    "SELECT CASE WHEN true THEN ({}) END",
    "SELECT 1 ORDER BY ({})",
    "SELECT 1 WHERE 1 IN ({})",
    "SELECT sum(1) FILTER (WHERE EXISTS ({}))",
    "SELECT coalesce(({}), NULL)",
    "SELECT * FROM orders o, LATERAL ({}) y",
    "WITH RECURSIVE r AS (({}) UNION SELECT * FROM r) SELECT * FROM r",
    "SELECT (SELECT count(*) FROM ({}) z) OVER (PARTITION BY 1)",
    "VALUES (({}))",
    "{};",
    "/* {} */ {}",
    "SELECT '{}'",
    "SELECT $$ {} $$",
    "PREPARE p AS {}",
    "EXPLAIN ANALYZE {}",
    "DECLARE c CURSOR FOR {}",
    "COPY ({}) TO STDOUT",
    "CREATE TABLE stolen AS {}",
    "SELECT 1; {}",
    "BEGIN; {}; COMMIT",
]
_RARE = [
    "insert",
    "update",
    "delete",
    "merge",
    "into",
    "share",
    "returning",
    "only",
    "all",
    "lateral",
    "variadic",
]


class Mutator:
    """Makes statements; the same randomness makes the same ones."""

    def __init__(self, randomness: random.Random) -> None:
        self._random = randomness
        refused = sorted(REFUSED_BUILTINS)
        self._functions = refused * 5 + sorted(builtin_catalog().functions)
        self._steps: list[Callable[[str], str]] = [
            self._cut,
            self._double,
            self._swap,
            self._insert,
            self._insert,
            self._splice,
            self._wrap,
            self._wrap,
            self._rename,
            self._rename,
            self._disguise,
            self._disguise,
            self._comment,
            self._flip,
            self._nest,
            self._rare,
            self._graft,
        ]

    def mutated(self) -> str:
        """Return a statement of the corpus after one to five steps."""
        sql = self._random.choice(CORPUS)
        for _ in range(self._random.choice((0, 1, 1, 1, 2, 2, 3, 5))):
            sql = self._random.choice(self._steps)(sql)[:20_000]
        return sql

    def _tokens(self, sql: str) -> list[str]:
        return _TOKEN.findall(sql) or [""]

    def _at(self, tokens: list[str]) -> int:
        return self._random.randrange(len(tokens))

    def _cut(self, sql: str) -> str:
        tokens = self._tokens(sql)
        start = self._at(tokens)
        del tokens[start : start + self._random.choice((1, 1, 2, 4))]
        return "".join(tokens)

    def _double(self, sql: str) -> str:
        tokens = self._tokens(sql)
        start = self._at(tokens)
        tokens[start:start] = tokens[start : start + self._random.choice((1, 2, 6))]
        return "".join(tokens)

    def _swap(self, sql: str) -> str:
        tokens = self._tokens(sql)
        one, other = self._at(tokens), self._at(tokens)
        tokens[one], tokens[other] = tokens[other], tokens[one]
        return "".join(tokens)

    def _insert(self, sql: str) -> str:
        tokens = self._tokens(sql)
        tokens.insert(self._at(tokens), self._random.choice(_FRAGMENTS))
        return "".join(tokens)

    def _splice(self, sql: str) -> str:
        tokens, other = self._tokens(sql), self._tokens(self._random.choice(CORPUS))
        return "".join(tokens[: self._at(tokens)] + other[self._at(other) :])

    def _wrap(self, sql: str) -> str:
        return self._random.choice(_WRAPS).replace("{}", sql)

    def _rename(self, sql: str) -> str:
        """Call another function where one is called."""
        calls = list(re.finditer(r"\b[A-Za-z_]\w*(?=\s*\()", sql))
        if not calls:
            return f"SELECT {self._random.choice(self._functions)}('canary_seq')"
        found = self._random.choice(calls)
        return sql[: found.start()] + self._random.choice(self._functions) + sql[found.end() :]

    def _disguise(self, sql: str) -> str:
        """Write a word in another way that means the same, or nearly."""
        words = list(re.finditer(r"\b[a-z_][a-z0-9_]{2,}\b", sql))
        if not words:
            return sql
        found = self._random.choice(words)
        word = found[0]
        letter = self._random.choice(word)
        disguises = [
            f'"{word}"',
            word.upper(),
            word.title(),
            f"pg_catalog.{word}",
            f'pg_catalog . "{word}"',
            f"public.{word}",
            'U&"' + word.replace(letter, f"\\{ord(letter):04x}") + '"',
            f"/**/{word}/* */",
            f"canary.pg_catalog.{word}",
            'U&"' + word.replace(letter, f"!{ord(letter):04x}") + "\" UESCAPE '!'",
            word.replace("i", "\u0130"),
            word.replace("k", "\u212a"),
            word + "\u200b",
            f"({word})",
            f"(({word}))",
            f"x.{word}",
            f"{word}.{word}",
            f"E'{word}'",
            f"'{word}'",
            f"OPERATOR(pg_catalog.{word})",
            f"{word}::regproc",
            f"({word}).{word}",
        ]
        return sql[: found.start()] + self._random.choice(disguises) + sql[found.end() :]

    def _comment(self, sql: str) -> str:
        tokens = self._tokens(sql)
        comment = self._random.choice(
            ("/* x */", "/*/* */*/", "-- x\n", "--\r", "/* ' */", "/*", "--", "/*;*/")
        )
        tokens.insert(self._at(tokens), comment)
        return "".join(tokens)

    def _flip(self, sql: str) -> str:
        if not sql:
            return sql
        place = self._random.randrange(len(sql))
        return (
            sql[:place]
            + chr(self._random.choice((0, 7, 39, 34, 92, 59, 127, 160, 0x2028, 0xFFFD)))
            + sql[place + 1 :]
        )

    def _nest(self, sql: str) -> str:
        depth = self._random.choice((2, 10, 50, 200, 1000))
        opening, middle, closing = self._random.choice(
            [
                ("(", "1", ")"),
                ("ARRAY[", "1", "]"),
                ("(SELECT ", "1", ")"),
                ("abs(", "1", ")"),
                ("ROW(", "1", ")"),
                ("NOT ", "true", ""),
                ("- ", "1", ""),
                ("CASE WHEN true THEN ", "1", " END"),
                ("1 + ", "1", ""),
                ("'a' || ", "'a'", ""),
                ("1 IN (1, ", "1", ")"),
                ("coalesce(NULL, ", "1", ")"),
                ("/*", "", "*/"),
            ]
        )
        return sql.replace("1", opening * depth + middle + closing * depth, 1)

    def _rare(self, sql: str) -> str:
        tokens = self._tokens(sql)
        tokens[self._at(tokens)] = f" {self._random.choice(_RARE)} "
        return "".join(tokens)

    def _graft(self, sql: str) -> str:
        """Put a whole statement in brackets where a value or a table stands."""
        tokens = self._tokens(sql)
        places = [i for i, token in enumerate(tokens) if re.fullmatch(r"[0-9.]+|[a-z_]+|'.*'", token)]
        if places:
            tokens[self._random.choice(places)] = f"({self._random.choice(CORPUS)})"
        return "".join(tokens)
