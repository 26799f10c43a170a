"""What a developer waits for: opening a bench, importing the plugin, a short run, a ride-through signal.

    python benchmarks/bench_open.py [--rounds 10]

Best and median of several; other work on the machine shows in the median.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.clock import real_s, run_virtual
from harness.rig.bench import Setup, open_bench
from harness.rig.files import load_product, load_rig
from harness.wires.traffic import Traffic

ROOT = Path(__file__).resolve().parent.parent
SHORT_PLAN = "goes_to_zero_by_itself"
SIGNAL = "RT-08"


def took_s(work: Callable[[], object]) -> float:
    """Real time that something takes."""
    began_s = real_s()
    work()
    return real_s() - began_s


def open_and_close() -> float:
    """Open lab1 on its emulators, in a loop of its own, and close it."""
    rig, product = load_rig("lab1"), load_product("lfp_rack")

    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            setup = Setup(rig=rig, product=product, f0_hz=50.0, seed=1, traffic=Traffic(Path(folder)))
            async with open_bench(setup, emulate=True):
                pass

    return took_s(lambda: run_virtual(main))


def import_plugin() -> float:
    """Import the plugin where pytest and pytest-asyncio are there already, as in any pytest run."""
    code = "import pytest, pytest_asyncio.plugin, harness.plugin"
    run = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-X", "importtime", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = re.findall(r"^import time:\s+\d+ \|\s+(\d+) \| (harness(?:\.plugin)?)$", run.stderr, re.MULTILINE)
    return sum(int(microseconds) for microseconds, _ in found) * 1e-6


def run_pytest(folder: Path, chosen: str) -> str:
    """Run one plan from nothing to its sealed record; ``folder`` keeps what Python has compiled."""
    command = [sys.executable, "-m", "pytest", "testplans/", "--rig=lab1", "--emulate", "-q", "--no-live"]
    command += ["-p", "no:cacheprovider", f"--runs={folder / 'runs'}", "-k", chosen]
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env = {**own, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    run = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)  # noqa: S603 - as above
    return run.stdout


def signal(folder: Path) -> float:
    """Real time of the plan that plays the 288 s signal, by its own line: opening and judging are in it."""
    said = re.search(r"\((\d+) min (\d+) s, (\d+) x real time\)", run_pytest(folder, SIGNAL))
    assert said is not None
    minutes, seconds, speed = map(int, said.groups())
    return (60.0 * minutes + seconds) / speed


def report(what: str, goal_s: float, found_s: Sequence[float]) -> None:
    print(
        f"{what}: best {1e3 * min(found_s):.1f} ms, median {1e3 * statistics.median(found_s):.1f} ms"
        f" of {len(found_s)} (goal {1e3 * goal_s:.0f} ms)"
    )


def main() -> None:
    """Print all four, each with its goal."""
    parser = argparse.ArgumentParser(description="What a developer waits for.")
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    open_and_close()  # imports, and files that are read once a process
    report("open and close lab1 on its emulators", 0.15, [open_and_close() for _ in range(rounds)])
    report("import of harness.plugin", 0.015, [import_plugin() for _ in range(rounds)])
    with tempfile.TemporaryDirectory() as folder:
        run_pytest(Path(folder), SHORT_PLAN)  # compiles
        count = max(rounds // 3, 1)
        short = [took_s(lambda: run_pytest(Path(folder), SHORT_PLAN)) for _ in range(count)]
        report(f"pytest -k {SHORT_PLAN}", 2.0, short)
        report(f"{SIGNAL}, all wires on", 2.0, [signal(Path(folder)) for _ in range(count)])


if __name__ == "__main__":
    main()
