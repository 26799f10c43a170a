"""Simulated seconds a second of the cells, ours beside numpy's floor and PyBaMM's single cell, in one run.

    python benchmarks/plant_speed.py [--seconds 7200] [--rounds 5]

Steps of one second, everything on: spread of capacity, resistance, charge and heat, modules, hysteresis,
both RC branches, self-discharge, balancing, ageing; 1 C out, a rest, 0.5 C in, and so on. ``looked at``
reads all cells' voltages and temperatures after each step. PyBaMM's is its equivalent circuit of one cell
with two RC elements and heat, solved once at a constant current with an output each second. The bare circuit
is what numpy makes of 240 cells that are each stepped: two branches, state of charge and a voltage by
interpolation, no hysteresis, heat, losses or ageing. Other work on the machine slows all
of them, and by much: each stretch of 60 simulated seconds counts with the best time of all rounds, PyBaMM's
one solution likewise.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

import numpy as np

from harness.plant.chemistries import load
from harness.plant.rack import Battery, battery
from harness.plant.spec import BatterySpec, CellSpread

SPREAD = CellSpread(capacity=0.01, resistance=0.03, soc=0.005, thermal=0.1)

GOALS = {"240 cells, looked at": 50_000.0, "4000 cells, looked at": 10_000.0}
"""Simulated seconds a second, ours."""

STRETCH = 60
BARE, PYBAMM = "bare numpy, 240 cells", "PyBaMM, one cell"


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


def stretches(step: Callable[[float], object], amperes: Iterator[float], seconds: int) -> list[float]:
    """Time of each stretch of a minute, in s of the clock."""
    found = []
    for _ in range(seconds // STRETCH):
        stretch = list(islice(amperes, STRETCH))
        begin_s = time.perf_counter()
        for current_a in stretch:
            step(current_a)
        found.append(time.perf_counter() - begin_s)
    return found


def run(in_series: int, strings: int, seconds: int, *, is_looked_at: bool) -> list[float]:
    """Our cells."""
    one = cells(in_series, strings)

    def step(current_a: float) -> object:
        one.step(current_a, 1.0)
        return (one.cell_voltages_v, one.cell_temperatures_degc) if is_looked_at else None

    one.step(0.0, 1.0)
    return stretches(step, currents(one.capacity_ah), seconds)


def run_bare(seconds: int) -> list[float]:
    """240 cells as a bare circuit, all stepped and seen at each second."""
    count = 240
    lfp = load("lfp")
    per_c = 1.0 / (3600.0 * lfp.capacity_ah * np.random.default_rng(1).normal(1.0, 0.01, count))
    series_ohm, one_ohm, two_ohm = 0.01, 0.008, 0.006
    left_1, left_2 = math.exp(-1.0 / 30.0), math.exp(-1.0 / 180.0)
    socs, ones_v, twos_v = np.full(count, 0.75), np.zeros(count), np.zeros(count)

    def step(current_a: float) -> object:
        nonlocal socs, ones_v, twos_v
        socs = socs - current_a * per_c
        ones_v = left_1 * ones_v + (1.0 - left_1) * one_ohm * current_a
        twos_v = left_2 * twos_v + (1.0 - left_2) * two_ohm * current_a
        return np.interp(socs, lfp.nodes, lfp.node_v) - ones_v - twos_v - series_ohm * current_a

    return stretches(step, currents(lfp.capacity_ah), seconds)


def run_pybamm(seconds: int) -> list[float]:
    """PyBaMM's single cell, in one stretch; nothing where it is not installed."""
    try:
        import pybamm  # noqa: PLC0415  (an optional extra, and a second to import)
    except ModuleNotFoundError:
        return []
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
    begin_s = time.perf_counter()
    solution = simulation.solve(at_s)
    _ = solution["Voltage [V]"].entries
    return [time.perf_counter() - begin_s]


def main() -> None:
    """Measure, and print beside the goals."""
    parser = argparse.ArgumentParser(description="Speed of the cells")
    parser.add_argument("--seconds", type=int, default=7200, help="simulated, of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    seconds = arguments.seconds // STRETCH * STRETCH
    subjects: dict[str, Callable[[], list[float]]] = {}
    for name, in_series, strings in (
        ("16 cells", 16, 1),
        ("240 cells", 240, 1),
        ("4000 cells", 4000, 1),
        ("16 strings of 248", 248, 16),
    ):
        subjects[name] = partial(run, in_series, strings, seconds, is_looked_at=False)
        subjects[f"{name}, looked at"] = partial(run, in_series, strings, seconds, is_looked_at=True)
    subjects[BARE] = partial(run_bare, seconds)
    subjects[PYBAMM] = partial(run_pybamm, seconds)
    best: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        for name, measure in subjects.items():
            times_s = measure()
            best[name] = [min(pair) for pair in zip(times_s, best.get(name, times_s), strict=True)]
    rates = {name: seconds / sum(times_s) for name, times_s in best.items() if times_s}
    print(f"{'simulated seconds a second':32}{'':10}{'of bare numpy':>16}{'of PyBaMM':>12}")
    for name in subjects:
        if name not in rates:
            print(f"{name:32}{'missing':>10}   pip install rackproof[bench]")
            continue
        beside = f"{rates[name] / rates[PYBAMM]:12.1f}" if PYBAMM in rates else f"{'-':>12}"
        goal = f"   goal {GOALS[name]:,.0f}" if name in GOALS else ""
        print(f"{name:32}{rates[name]:>10,.0f}{rates[name] / rates[BARE]:>16.2f}{beside}{goal}")


if __name__ == "__main__":
    main()
