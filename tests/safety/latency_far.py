"""The far end of the latency test: a rig whose shunt shows breaches, and the clock for both moments.

Writes one line a breach: seconds from the frame that shows it to the converter's first command. Each comes
after a line on standard input, with which the near end says that it watches.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from harness.clock import now_s, run_wall
from harness.rig.bench import Setup, far_side
from harness.rig.emulation import pointed_at
from harness.rig.files import load_product, load_rig, write_rig
from harness.safety.guard import be_prompt

BREACHES = int(sys.argv[2])
BREACH_A = float(sys.argv[3])
CURRENT_FRAME = 0x521


async def main() -> None:
    be_prompt()  # it stands for a device, which has a processor of its own
    rig = load_rig("lab1")
    async with far_side(
        Setup(rig=rig, product=load_product("lfp_rack"), f0_hz=60.0), expose_can=True
    ) as side:
        shunt: Any = side.emulators["shunt"]
        converter: Any = side.emulators["pcs"]
        commanded, watched = asyncio.Event(), asyncio.Event()
        times_s: list[float] = []
        write = converter.write

        def note_write(*what: Any) -> None:
            times_s.append(now_s())
            commanded.set()
            write(*what)

        converter.write = note_write
        shown_s: list[float] = []

        def note_frame(_: Any) -> None:
            if shunt.disturbance and not shown_s:
                shown_s.append(now_s())

        side.can_lines["safety_can"].port("clock").listen([CURRENT_FRAME], note_frame)
        write_rig(pointed_at(rig, side.addresses), Path(sys.argv[1]))
        asyncio.get_running_loop().add_reader(sys.stdin, lambda: sys.stdin.readline() and watched.set())
        print("ready", flush=True)
        for number in range(BREACHES):
            await watched.wait()
            watched.clear()
            await asyncio.sleep(0.013 * (number % 7))  # at another phase of everything each time
            side.advance()
            commanded.clear()
            times_s.clear()
            shown_s.clear()
            shunt.disturbance["current_a"] = BREACH_A
            await commanded.wait()
            shunt.disturbance.clear()
            print(f"{times_s[0] - shown_s[0]:.6f}", flush=True)


run_wall(main)
