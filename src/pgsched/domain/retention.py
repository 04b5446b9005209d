"""How long runs are kept."""

from __future__ import annotations

from dataclasses import dataclass

from pgsched.domain.jobs import JobSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What is kept of a query's runs; the newest success always is."""

    #: newest runs kept, None for all
    keep_runs: int | None = None
    #: days that runs are kept after their instant, None for ever
    keep_days: int | None = None

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return self.keep_runs is not None or self.keep_days is not None


def limits_of(spec: JobSpec, defaults: Limits) -> Limits:
    """Return a query's own limits, each replaced by the general one where the query names none."""
    return Limits(
        keep_runs=defaults.keep_runs if spec.keep_runs is None else spec.keep_runs,
        keep_days=defaults.keep_days if spec.keep_days is None else spec.keep_days,
    )
