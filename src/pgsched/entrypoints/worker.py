"""The worker as a process: signals in, a drained worker out."""

from __future__ import annotations

import gc
import logging
from contextlib import suppress

from pgsched.domain.errors import DatabaseUnavailable
from pgsched.entrypoints.container import container_for, opened
from pgsched.entrypoints.schema_guard import refuse_newer
from pgsched.entrypoints.signals import stop_on_signals

log = logging.getLogger(__name__)

#: most connections to the metadata database; runs wait for theirs only to begin and to end
POOL_SIZE = 16
#: objects made, less those that are gone, after which garbage is looked for
GARBAGE_AFTER = 20_000


async def serve(concurrency: int) -> None:
    """Work until SIGTERM or SIGINT, then drain.

    Raises:
        SettingFault, KeyFault, EmbeddedFault: before the start, when something is set wrong.
        SchemaMismatch: the schema is newer than this program.
    """
    container = container_for("worker", pool_size=min(POOL_SIZE, concurrency + 3), concurrency=concurrency)
    # What is missing or damaged is told now, not at the first run.
    if not container.vault().can_open:
        log.warning(
            "no private key is configured; only sources without a password can be used. "
            "Set APP_PRIVATE_KEY_B64_PATH",
            extra={"action": "worker.no_private_key"},
        )
    stop = stop_on_signals()
    async with opened(container):
        with suppress(DatabaseUnavailable):  # waited for, by the worker itself
            await refuse_newer(container)
        look_less_for_garbage()
        await container.worker().run(stop)


def look_less_for_garbage() -> None:
    """Leave out what was imported, which would hold up runs for tens of milliseconds, and look less often.

    A run makes hundreds of objects and hardly a cycle among them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER)
