"""The blocks that the documentation prints, and what a comment above one says about running it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: every page that a reader may paste from
PAGES = tuple(
    str(path.relative_to(ROOT)) for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
)
SHELL = ("sh", "bash", "shell", "console")
#: what is pasted into a program, each into its own
RUN = (*SHELL, "python", "js", "sql")
#: what is shown and not run
SHOWN = ("text", "json", "yaml", "mermaid")

_BLOCK = re.compile(
    r"(?:^(?P<mark> *<!-- .*? -->)\n\n?)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_NOT_RUN = re.compile(r"<!-- not run: (?P<reason>\S.*) -->")
_EXITS = re.compile(r"<!-- exits (?P<code>[0-9]+): (?P<reason>\S.*) -->")


@dataclass(frozen=True, kw_only=True)
class Block:
    """What stands between two fences."""

    page: str
    #: its place on the page, from 1
    number: int
    language: str
    text: str
    #: why it is not run here, None where it is
    not_run: str | None = None
    #: what it must exit with
    exits: int = 0

    def __str__(self) -> str:
        return f"{self.page}, block {self.number}"


def blocks_of(page: str) -> Iterator[Block]:
    """The blocks of a page, in order."""
    found = _BLOCK.finditer((ROOT / page).read_text())
    for number, each in enumerate(found, 1):
        lines = each["text"].splitlines(keepends=True)
        mark = (each["mark"] or "").strip()
        not_run, exits = _NOT_RUN.fullmatch(mark), _EXITS.fullmatch(mark)
        yield Block(
            page=page,
            number=number,
            language=each["language"],
            text="".join(line.removeprefix(each["indent"]) for line in lines),
            not_run=not_run and not_run["reason"],
            exits=int(exits["code"]) if exits else 0,
        )


BLOCKS = tuple(block for page in PAGES for block in blocks_of(page))
