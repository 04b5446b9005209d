"""How long it took until somebody else had taken over what a worker was busy with when it was hurt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chaos.checker import Checker
from chaos.fleet import Hurt

#: what ends a worker's connections with it, and what leaves them open
KILLED = frozenset({"kill"})
SILENT = frozenset({"freeze", "cut"})
#: in these nobody can do anything: there is no server to do it at
_NO_SERVER = frozenset({"server", "disk"})
#: in these a worker does nothing
_NO_WORKER = frozenset({"kill", "freeze", "cut", "stop"})
#: seconds that the driver adds to the end of what it did
_AFTERMATH_S = 3.0
#: seconds that are not worth telling
_NOTHING_S = 0.05

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Takeover:
    """One run that was held by a worker when that was hurt."""

    run_id: int
    #: whether the worker was killed; else it fell silent, frozen or cut off
    killed: bool
    #: seconds until it was claimed again, or ended where it is not to run again
    seconds: float
    #: seconds of those in which there was no server or no worker at work
    nobody_s: float
    #: whether something else was done to the fleet at the same time
    beside: bool

    @property
    def counted_s(self) -> float:
        """Seconds in which somebody could have taken over."""
        return self.seconds - self.nobody_s


def takeovers(checker: Checker, ready: dict[str, float]) -> list[Takeover]:
    """Return every takeover; ``ready`` has the unix time at which each worker was ready."""
    nobody = _without_anybody(checker.hurts, ready)
    found = []
    for hurt in checker.hurts:
        if hurt.kind not in KILLED | SILENT:
            continue
        at = datetime.fromtimestamp(hurt.since, UTC)
        for (run_id, token), claim in checker.holders.items():
            if claim.writer != hurt.who or claim.at > at:
                continue
            over = _taken_over(checker.by_run[run_id], token, at)
            if over is None:
                continue
            until = over.timestamp()
            others = any(
                other is not hurt and other.since < until and _mended(other) > hurt.since - 2
                for other in checker.hurts
                if other.kind not in ("source", "stop") and other.who != hurt.who
            )
            found.append(
                Takeover(
                    run_id=run_id,
                    killed=hurt.kind in KILLED and not _is_silent(checker.hurts, hurt),
                    seconds=until - hurt.since,
                    nobody_s=_overlap(nobody, (hurt.since, until)),
                    beside=others,
                )
            )
    return found


def told(found: list[Takeover]) -> list[str]:
    """Say it in lines."""
    lines = []
    for killed, what, goal_s in ((True, "a killed worker", 5), (False, "a frozen or cut-off worker", 36)):
        for beside, when in ((False, "nothing else being wrong"), (True, "other faults at the same time")):
            chosen = [each for each in found if each.killed is killed and each.beside is beside]
            if not chosen:
                continue
            seconds = sorted(each.counted_s for each in chosen)
            left_out = [each.nobody_s for each in chosen if each.nobody_s > _NOTHING_S]
            lines.append(
                f"runs of {what} claimed again, {when}: {len(chosen)}, p50 {share_of(seconds, 0.5):.2f} s,"
                f" p99 {share_of(seconds, 0.99):.2f} s (goal {goal_s} s)"
                + _told_left_out(left_out, "any server or any worker at work")
            )
    return lines


def told_returns(returns: list[Interval], hurts: list[Hurt], ready: dict[str, float]) -> list[str]:
    """Say how long the first claim took after the metadata server was back."""
    if not returns:
        return []
    nobody = _without_workers(hurts, ready)
    seconds = sorted(claimed - back - _overlap(nobody, (back, claimed)) for back, claimed in returns)
    left_out = [alone for each in returns if (alone := _overlap(nobody, each)) > _NOTHING_S]
    return [
        f"first claim after the metadata server is back: {len(seconds)}, p50 {share_of(seconds, 0.5):.2f} s,"
        f" at most {seconds[-1]:.2f} s (goal 3 s){_told_left_out(left_out, 'any worker at work')}"
    ]


def share_of(values: list[float], share: float) -> float:
    """Return the value below which a share of sorted values lies."""
    return values[min(len(values) - 1, int(share * len(values)))]


def _told_left_out(seconds: list[float], without: str) -> str:
    if not seconds:
        return ""
    return f"; left out: the time without {without}, {sum(seconds):.1f} s in {len(seconds)} of them"


def _taken_over(changes: list[Any], token: int, at: datetime) -> datetime | None:
    """Return when a run held with a token was taken by somebody else; None when its holder ended it."""
    rescued = [
        c for c in changes if c.old_token == token and c.old_status == "running" and c.status != "running"
    ]
    if not rescued or rescued[0].at <= at or rescued[0].losses == rescued[0].old_losses:
        return None
    if rescued[0].status != "queued":
        return rescued[0].at  # type: ignore[no-any-return]
    # what was asked to be cancelled or skipped while it waited is over, too
    next_ones = [c.at for c in changes if c.old_status == "queued" and c.at >= rescued[0].at]
    return min(next_ones, default=None)


def _without_anybody(hurts: Iterable[Hurt], ready: dict[str, float]) -> list[Interval]:
    """Return the times in which no server or no worker was there, ascending and apart."""
    hurts = list(hurts)
    away = [(hurt.since, hurt.until - _AFTERMATH_S) for hurt in hurts if hurt.kind in _NO_SERVER]
    return _joined([*away, *_without_workers(hurts, ready)])


def _without_workers(hurts: list[Hurt], ready: dict[str, float]) -> list[Interval]:
    at_work: list[Interval] = []
    for name, since in ready.items():
        lost = [(h.since, _end(h)) for h in hurts if h.who == name and h.kind in _NO_WORKER]
        at_work += _minus((since, float("inf")), lost)
    first = min((since for since, _ in at_work), default=0.0)
    return _minus((first, float("inf")), at_work)


def _is_silent(hurts: Iterable[Hurt], kill: Hurt) -> bool:
    """Whether a worker's end cannot be heard: it was cut off when killed, or frozen before it came to it."""
    return any(
        hurt.kind in SILENT and hurt.who == kill.who and hurt.since <= kill.since < _mended(hurt)
        for hurt in hurts
    )


def _mended(hurt: Hurt) -> float:
    """Return when others have got over it; a worker that was killed has been replaced by then."""
    return hurt.since + 10 if hurt.kind == "kill" else hurt.until


def _end(hurt: Hurt) -> float:
    return float("inf") if hurt.kind in ("kill", "stop") else hurt.until - _AFTERMATH_S + 1


def _minus(whole: Interval, parts: Iterable[Interval]) -> list[Interval]:
    since, until = whole
    left = []
    for begin, end in _joined(parts):
        if begin > since:
            left.append((since, min(begin, until)))
        since = max(since, end)
    return [*left, (since, until)] if since < until else left


def _joined(parts: Iterable[Interval]) -> list[Interval]:
    found: list[Interval] = []
    for begin, end in sorted(part for part in parts if part[0] < part[1]):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def _overlap(parts: Iterable[Interval], whole: Interval) -> float:
    return sum(max(0.0, min(end, whole[1]) - max(begin, whole[0])) for begin, end in parts)
