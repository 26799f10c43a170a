"""How far halving every internal step moves what is judged: the numerical error that the models state.

Tests hold the models to these numbers, over whole cycles to empty, full and stripped, at rest and under
swings, for both example products; nobody repeats them. Internal steps are all that no event sets: steps of
time, stretches of charge, warming and rest between two looks at the cells, ways of a bus voltage, stairs of
a taper. All numbers are ours, up to twice what was found.

What a battery tells, it tells at intervals. An end that falls beside a report, within ``level_s``, is heard
one report sooner or later, and the charge of that interval comes on top: current times interval. No step
length helps there, and no real rack does better.

These are errors of integration. How far a model is from its equations otherwise (a cell that is ahead of the
mean one, a bleed current that stands) is in its own docstring.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CellError:
    """Of a battery, up to the currents of the example products (LFP C/2, zinc-halogen C/4).

    Attributes:
        soc: state of charge.
        estimate: the battery management's own state of charge.
        cell_v: each cell's voltage.
        string_v: the string's.
        held_v: the same while a charger holds it: a step holds its mean, and ends above.
        temperature_k: each cell's temperature.
        capacity: as a fraction; it follows the cells' age by looks.
        hydrogen: what was made, as a fraction.
    """

    soc: float
    estimate: float
    cell_v: float
    string_v: float
    held_v: float
    temperature_k: float
    capacity: float
    hydrogen: float


@dataclass(frozen=True, slots=True)
class ConverterError:
    """Of the AC side and of instants.

    Attributes:
        power_pu: of the rated apparent power; a limit of the battery that cuts is followed with this slack.
        held_pu: the same while a charge tapers at a voltage, in stairs of a step.
        energy: of what went through.
        change_s: on top for each change of a set-point, in seconds of rated power: chords of its exponential.
        level_s: the instant at which a cell's level is judged.
        temperature_level_s: the same of a temperature's: a step, of a second under power.
        contactor_s: instants of contactors.
        trip_s: instants of trips, transfers and dropouts behind a step; behind a ramp what crosses a level
            within a step is found as exactly, since the ramp is a line.
        island: frequency and voltage of an island, as fractions.
    """

    power_pu: float
    held_pu: float
    energy: float
    change_s: float
    level_s: float
    temperature_level_s: float
    contactor_s: float
    trip_s: float
    island: float


@dataclass(frozen=True, slots=True)
class RackError:
    """Of a server rack.

    Attributes:
        bus_v: voltages of the bus.
        soc: of a backup module, charging at the power that a swinging load leaves over included.
        taper_soc: the same while its charge tapers, which it does in stairs.
        energy: of what went through.
        instant_s: of hold-up, transfer and trigger.
        run_time: of a backup's run time, as a fraction, beside ``instant_s``.
    """

    bus_v: float
    soc: float
    taper_soc: float
    energy: float
    instant_s: float
    run_time: float


LFP = CellError(
    soc=1.5e-6,
    estimate=1.5e-6,
    cell_v=2e-4,
    string_v=6e-4,
    held_v=2e-3,
    temperature_k=5e-4,
    capacity=4e-5,
    hydrogen=0.0,
)

ZINC_HALOGEN = CellError(
    # Within a stretch of a hundredth of charge the share that makes hydrogen counts by its mean.
    soc=1.2e-5,
    estimate=5e-6,
    cell_v=2e-4,
    string_v=6e-4,
    held_v=2e-3,
    temperature_k=4e-3,
    # Metal that a charge leaves behind counts at the end of a stretch.
    capacity=1.5e-4,
    hydrogen=4e-3,
)

CELLS = {"lfp": LFP, "zinc_halogen": ZINC_HALOGEN}

CONVERTER = ConverterError(
    power_pu=5e-4,
    held_pu=3e-3,
    energy=2e-4,
    change_s=5e-4,
    level_s=0.005,
    temperature_level_s=1.0,
    contactor_s=2e-6,
    trip_s=3e-5,
    island=1e-5,
)

RACK = RackError(bus_v=1e-3, soc=1e-5, taper_soc=5e-5, energy=1e-4, instant_s=2e-5, run_time=5e-5)
