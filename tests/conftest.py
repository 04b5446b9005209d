"""What all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Neither how long an example takes nor how long it takes to make one says anything about pgsched. Where CI is
# set, the profile that this one is built on tries the same examples in each run.
settings.register_profile("pgsched", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pgsched")
