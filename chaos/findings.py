"""What a checker found."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Findings:
    """What is wrong, by kind, and what was seen at all."""

    wrong: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    seen: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, text: str) -> None:
        """Note a violation."""
        self.wrong[kind].append(text)
