"""The near end of the latency test: the guard's parts; each breach is answered by a command.

Writes a line each time it watches, after a report that showed no breach any more.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from harness.clock import now_s, run_wall
from harness.rig.bench import Setup, open_bench
from harness.rig.files import load_product, load_rig
from harness.safety.guard import be_prompt
from harness.safety.interlock import Interlock

BREACH_A = float(sys.argv[2])


async def main() -> None:
    be_prompt()
    rig = load_rig(sys.argv[1])
    watched: list[Interlock] = []
    breach, calm = asyncio.Event(), asyncio.Event()

    def observe(*readings: Any) -> None:
        for interlock in watched:
            for reading in readings:
                interlock.observe(reading)
            if interlock.breach is not None:
                breach.set()
        if any(each.source == "shunt.current_a" and each.value < 0.5 * BREACH_A for each in readings):
            calm.set()

    setup = Setup(
        rig=rig, product=load_product("lfp_rack"), f0_hz=60.0, observe=observe, note=lambda *_: None
    )
    async with open_bench(setup, emulate=False, only=frozenset({"shunt", "pcs"})) as bench:
        while True:
            await bench.devices["pcs"].turn_off()
            calm.clear()
            await calm.wait()
            breach.clear()
            watched[:] = [Interlock(rig, now_s())]
            print("watches", flush=True)
            await breach.wait()
            watched.clear()


run_wall(main)
