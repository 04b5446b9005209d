"""How long it took to notice that a worker was killed."""

from __future__ import annotations

from datetime import UTC, datetime

from chaos.checker import Checker


def takeovers(checker: Checker) -> list[float]:
    """Seconds from kill -9 of a worker until each run it held waits again, with no other fault near."""
    found = []
    for kill in [hurt for hurt in checker.hurts if hurt.kind == "kill"]:
        others = [
            hurt
            for hurt in checker.hurts
            if (hurt.who == "*" or hurt.kind == "backend")
            and hurt.since < kill.since + 6
            and hurt.until > kill.since - 2
        ]
        # somebody must be there to take over
        hurt_now = {
            hurt.who for hurt in checker.hurts if hurt.since < kill.since + 6 and hurt.until > kill.since - 2
        }
        claimers = {
            claim.writer for claim in checker.holders.values() if abs(claim.at.timestamp() - kill.since) < 20
        }
        if others or not claimers - hurt_now:
            continue
        at = datetime.fromtimestamp(kill.since, UTC)
        for (run_id, token), claim in checker.holders.items():
            if claim.writer != kill.who or claim.at > at:
                continue
            ends = [
                c
                for c in checker.by_run[run_id]
                if c.old_token == token and c.old_status == "running" and c.status != "running"
            ]
            if not ends or ends[0].at <= at or ends[0].status != "queued":
                continue
            found.append((ends[0].at - at).total_seconds())
    return sorted(found)
