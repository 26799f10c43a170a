"""Making a rig safe by command, with no run beside it: after a dead guard, or a rig left unsafe."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from harness.errors import RackproofError
from harness.rig.bench import Bench, Setup, line_of, open_device
from harness.safety.lease import SAFE, UNSAFE, Lease
from harness.safety.safe_state import MakeSafe, Outcome


async def open_what_answers(
    bench: Bench, stack: contextlib.AsyncExitStack, say: Callable[[str, object], None]
) -> None:
    """Open each device that can be opened and is not open yet; say which cannot."""
    for name, device in bench.rig.devices.items():
        if name in bench.devices:
            continue
        try:
            if device.wire not in bench.lines:
                line = line_of(device.wire, bench)
                await line.open()
                stack.push_async_callback(line.close)
                bench.lines[device.wire] = line
            await open_device(name, bench.lines[device.wire], bench, stack)
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
        lease.write(SAFE if outcome.is_safe else UNSAFE, "" if outcome.is_safe else outcome.text)
        return outcome
    finally:
        lease.close()
