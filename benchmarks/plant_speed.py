"""Simulated seconds a second of the cells, ours beside PyBaMM's single cell, in one run.

    python benchmarks/plant_speed.py [--seconds 7200] [--rounds 5]

Steps of one second, everything on: spread of capacity, resistance, charge and heat, modules, hysteresis,
both RC branches, self-discharge, balancing, ageing; 1 C out, a rest, 0.5 C in, and so on. ``looked at``
reads all cells' voltages and temperatures after each step. PyBaMM's is its equivalent circuit of one cell
with two RC elements and heat, solved once at a constant current with an output each second. Times are of
the processor, the best of all rounds: other work on the machine slows both, and by much.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from harness.plant.rack import Battery, battery
from harness.plant.spec import BatterySpec, CellSpread

SPREAD = CellSpread(capacity=0.01, resistance=0.03, soc=0.005, thermal=0.1)

GOALS = {"240 cells, looked at": 50_000.0, "4000 cells, looked at": 10_000.0}
"""Simulated seconds a second, ours."""


def cells(in_series: int, strings: int) -> Battery:
    """LFP in modules of eight, every fourth cell being bled."""
    spec = BatterySpec(
        cells_in_series=in_series,
        strings=strings,
        soc=0.75,
        spread=SPREAD,
        cells_per_module=8,
        module_heat_capacity_j_per_k=400.0,
        module_conductance_w_per_k=0.5,
        cooling_conductance_w_per_k=2.0,
        bleed_resistance_ohm=330.0,
    )
    found = battery(spec, 25.0, seed=1)
    found.set_balancing(np.arange(in_series * strings) % 4 == 0)
    return found


def currents(capacity_ah: float) -> Iterator[float]:
    """20 minutes out at 1 C, 10 of rest, 40 in at 0.5 C, for ever."""
    while True:
        for rate, seconds in ((1.0, 1200), (0.0, 600), (-0.5, 2400)):
            for _ in range(seconds):
                yield rate * capacity_ah


def run(in_series: int, strings: int, seconds: int, *, is_looked_at: bool) -> float:
    """Simulated seconds a second of processor time."""
    one = cells(in_series, strings)
    amperes = currents(one.capacity_ah)
    one.step(0.0, 1.0)
    begin_s = time.process_time()
    for _ in range(seconds):
        one.step(next(amperes), 1.0)
        if is_looked_at:
            _ = one.cell_voltages_v, one.cell_temperatures_degc
    return seconds / (time.process_time() - begin_s)


def run_pybamm(seconds: int) -> float | None:
    """Likewise for PyBaMM's single cell; None where it is not installed."""
    try:
        import pybamm  # noqa: PLC0415  (an optional extra, and a second to import)
    except ModuleNotFoundError:
        return None
    pybamm.set_logging_level("ERROR")
    model = pybamm.equivalent_circuit.Thevenin(options={"number of rc elements": 2})
    parameters = model.default_parameter_values
    parameters.update(
        {
            "R2 [Ohm]": parameters["R1 [Ohm]"],
            "C2 [F]": parameters["C1 [F]"],
            "Element-2 initial overpotential [V]": 0.0,
            "Current function [A]": 10.0,
        },
        check_already_exists=False,
    )
    simulation = pybamm.Simulation(model, parameter_values=parameters)
    at_s = np.arange(0.0, seconds + 1.0)
    simulation.solve(at_s)
    begin_s = time.process_time()
    solution = simulation.solve(at_s)
    _ = solution["Voltage [V]"].entries
    return seconds / (time.process_time() - begin_s)


def main() -> None:
    """Measure, and print beside the goals."""
    parser = argparse.ArgumentParser(description="Speed of the cells")
    parser.add_argument("--seconds", type=int, default=7200, help="simulated, of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    seconds = arguments.seconds
    subjects: dict[str, Callable[[], float | None]] = {}
    for name, in_series, strings in (
        ("16 cells", 16, 1),
        ("240 cells", 240, 1),
        ("4000 cells", 4000, 1),
        ("16 strings of 248", 248, 16),
    ):
        subjects[name] = partial(run, in_series, strings, seconds, is_looked_at=False)
        subjects[f"{name}, looked at"] = partial(run, in_series, strings, seconds, is_looked_at=True)
    subjects["PyBaMM, one cell"] = partial(run_pybamm, seconds)
    best: dict[str, float] = {}
    for _ in range(arguments.rounds):
        for name, measure in subjects.items():
            rate = measure()
            if rate is not None:
                best[name] = max(rate, best.get(name, 0.0))
    print(f"{'simulated seconds a second':32}")
    for name in subjects:
        if name not in best:
            print(f"{name:32}{'missing':>10}   pip install rackproof[bench]")
            continue
        goal = f"   goal {GOALS[name]:,.0f}" if name in GOALS else ""
        print(f"{name:32}{best[name]:>10,.0f}{goal}")


if __name__ == "__main__":
    main()
