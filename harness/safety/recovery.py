"""Making a rig safe by command, with no run beside it: after a dead guard, or a rig left unsafe."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from harness.errors import RackproofError
from harness.rig.bench import Bench, Setup, reach
from harness.safety.lease import Lease
from harness.safety.safe_state import MakeSafe, Outcome


async def open_what_answers(
    bench: Bench, stack: contextlib.AsyncExitStack, say: Callable[[str, object], None]
) -> None:
    """Open each device that can be opened and is not open yet; say which cannot."""
    for name, device in bench.rig.devices.items():
        if name in bench.devices:
            continue
        try:
            await reach(name, bench, stack)
        except (RackproofError, OSError) as error:
            say("not opened", {"device": name, "wire": device.wire, "error": str(error)})


async def recover(setup: Setup, say: Callable[[str, object], None]) -> Outcome:
    """Take a rig in whatever state it is, make it safe, and leave that beside its lease.

    Raises:
        Unsafe: somebody else holds it.
    """
    lease = Lease.take(setup.rig, for_recovery=True)
    try:
        bench = Bench(setup, None)
        async with contextlib.AsyncExitStack() as stack:
            await open_what_answers(bench, stack, say)
            outcome = await MakeSafe(bench, "command", "a person's command", say).run({})
        lease.leave(outcome.text, is_safe=outcome.is_safe)
        return outcome
    finally:
        lease.close()
