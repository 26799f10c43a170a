"""What a rig's plant is made of, as data: filled from product and rig files, read by emulators.

Every number is in SI units with the unit in its name; angles do not appear. ``pu`` is per unit of the
nominal line-to-neutral voltage. Positive current and power flow out of the battery.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from harness.plant.bms_spec import BmsSpec
from harness.plant.converter_spec import ConverterSpec
from harness.plant.grid_support import FrequencyDroop


@dataclass(frozen=True, kw_only=True, slots=True)
class CellSpread:
    """How far cells differ from their chemistry: standard deviations of keyed normal draws, cut at 3.

    Attributes:
        capacity: of the cell's capacity, as a fraction.
        resistance: of the cell's resistance, as a fraction.
        soc: of the initial state of charge, as a fraction of capacity.
        thermal: of how far the cell warms above its module, as a fraction.

    Defaults are ours: half a per cent and two per cent are what cells of one lot that were sorted for a pack
    are delivered within; charge is equal after a balancing, and no figure is known for thermal.
    """

    capacity: float = 0.005
    resistance: float = 0.02
    soc: float = 0.0
    thermal: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class BatterySpec:
    """A string of cells.

    Attributes:
        chemistry: name of a file in ``harness/plant/chemistries`` without its suffix.
        cells_in_series: cells in the string.
        cells_in_parallel: equal cells beside each other at each place of the string.
        soc: state of charge at time zero, 0 to 1.
        soh: capacity left as a fraction of the new cell's.
        temperature_degc: of all cells at time zero; None starts at the ambient's.
        connection_resistance_ohm: busbars, fuse and contactors of the whole string.
        spread: how far the cells differ.
        strings: equal strings in parallel, each with a contactor of its own.
        age_days: since the cells were made, at half charge and 25 degC: where on its curve calendar ageing
            goes on. Thirty days, ours: from the cells' maker to the rig.
        full_cycles: behind them, likewise. Ten, ours: formation and the tests at the end of two lines.
        cells_per_module: cells in series in a module; None: each stands in ambient air.
        module_heat_capacity_j_per_k: of a module without its cells.
        module_conductance_w_per_k: of a module to ambient, uncooled.
        cooling_conductance_w_per_k: what fan or liquid adds to it while it runs; to each place of the string
            where there are no modules.
        bleed_resistance_ohm: for balancing, at each place of the string; None: there is none.
    """

    chemistry: str = "lfp"
    cells_in_series: int = 16
    cells_in_parallel: int = 1
    soc: float = 0.5
    soh: float = 1.0
    temperature_degc: float | None = None
    connection_resistance_ohm: float = 0.0
    spread: CellSpread = field(default_factory=CellSpread)
    strings: int = 1
    age_days: float = 30.0
    full_cycles: float = 10.0
    cells_per_module: int | None = None
    module_heat_capacity_j_per_k: float = 0.0
    module_conductance_w_per_k: float = 0.0
    cooling_conductance_w_per_k: float = 0.0
    bleed_resistance_ohm: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Harmonic:
    """One order of a source's distortion, equal in its three phases and in step with each.

    Attributes:
        order: multiple of the fundamental frequency, 2 and above.
        fraction: RMS of the order over RMS of the fundamental, behind the source impedance.
        angle_deg: of the order's own sine where phase 1's fundamental rises through zero.
    """

    order: int
    fraction: float
    angle_deg: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class GridSpec:
    """The AC source and its line to the rig.

    Attributes:
        nominal_voltage_v: line-to-neutral; one per unit.
        frequency_hz: steady frequency at time zero.
        source_resistance_ohm: of source and line, each phase.
        source_reactance_ohm: of source and line, each phase, at the fundamental.
        starts_closed: whether the output relay is closed at time zero.
        angle_deg: of phase 1 at time zero.
        rise_time_s: from 10 to 90 % of a voltage step from zero to nominal; zero jumps. The voltage runs at
            0.8 nominal / rise time, whatever the step. Angles and frequency jump, as a synthesiser's do.
        current_limit_a: RMS current of a phase, beyond which the source's own protection opens its relay.
        sink_power_w: power that it can take back, three phases together, beyond which its own protection
            opens its relay; zero for a source that cannot sink, None for one without a bound.
        protection_delay_s: for how long current or power must be beyond (ours: one cycle of 60 Hz and a bit).
        harmonics: its distortion.

    The default impedance is ours: 7 mOhm a phase, some metres of cable behind a source that regulates, which
    at 10 kVA moves the voltage by 0.2 %. The nominal voltage is 200 V between lines, as in Japan.
    """

    nominal_voltage_v: float = 115.470053838
    frequency_hz: float = 60.0
    source_resistance_ohm: float = 0.005
    source_reactance_ohm: float = 0.005
    starts_closed: bool = True
    angle_deg: float = 0.0
    rise_time_s: float = 0.0
    current_limit_a: float | None = None
    sink_power_w: float | None = None
    protection_delay_s: float = 0.02
    harmonics: tuple[Harmonic, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no machine is.

        Raises:
            ValueError: a key and what is allowed.
        """
        _check("grid", "nominal_voltage_v", self.nominal_voltage_v, above=0.0)
        _check("grid", "frequency_hz", self.frequency_hz, above=0.0)
        for key in ("source_resistance_ohm", "source_reactance_ohm", "rise_time_s", "protection_delay_s"):
            _check("grid", key, getattr(self, key))
        for key in ("current_limit_a", "sink_power_w"):
            if getattr(self, key) is not None:
                _check("grid", key, getattr(self, key))
        for harmonic in self.harmonics:
            _check("grid", "harmonics: fraction", harmonic.fraction)
            if harmonic.order < 2:
                raise ValueError(f"grid: harmonics: order={harmonic.order}; allowed 2 and above")


class LoadKind(Enum):
    """How a load answers its voltage."""

    RESISTIVE = "resistive"
    """Constant impedance, inductive or capacitive by the power factor."""
    CONSTANT_POWER = "constant power"


@dataclass(frozen=True, kw_only=True, slots=True)
class RlcSpec:
    """A parallel RLC load as island tests set it: powers at nominal voltage and frequency, three phases.

    With them R = 3 V² / P, L = 3 V² / (2 pi f Q_L) and C = Q_C / (2 pi f 3 V²) in each phase; the circuit
    resonates at f_r = f sqrt(Q_L / Q_C) with the quality factor Q_f = sqrt(Q_L Q_C) / P = R sqrt(C / L)
    (IEEE 1547.1-2020, 5.10, and IEC 62116, from memory: Q_f = 1.0 +- 0.05).

    Attributes:
        power_w: of the resistors.
        inductive_var: of the coils, a positive number.
        capacitive_var: of the capacitors, a positive number.
        frequency_hz: that the powers hold at.
    """

    power_w: float
    inductive_var: float
    capacitive_var: float
    frequency_hz: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what no circuit is.

        Raises:
            ValueError: a key and what is allowed.
        """
        for key in ("power_w", "inductive_var", "capacitive_var"):
            _check("rlc load", key, getattr(self, key))
        _check("rlc load", "frequency_hz", self.frequency_hz, above=0.0)

    @classmethod
    def tuned(
        cls,
        power_w: float,
        quality_factor: float = 1.0,
        *,
        resonance_hz: float = 60.0,
        frequency_hz: float | None = None,
    ) -> RlcSpec:
        """Choose coils and capacitors for a quality factor at a resonance.

        Args:
            power_w: of the resistors at nominal voltage.
            quality_factor: R sqrt(C / L).
            resonance_hz: where coils and capacitors cancel.
            frequency_hz: nominal frequency; None: the resonance's.
        """
        nominal_hz = resonance_hz if frequency_hz is None else frequency_hz
        share = resonance_hz / nominal_hz
        return cls(
            power_w=power_w,
            inductive_var=quality_factor * power_w * share,
            capacitive_var=quality_factor * power_w / share,
            frequency_hz=nominal_hz,
        )

    @property
    def resonance_hz(self) -> float:
        """Where coils and capacitors cancel; zero where one of them is missing."""
        if self.capacitive_var == 0.0:
            return 0.0
        return self.frequency_hz * math.sqrt(self.inductive_var / self.capacitive_var)

    @property
    def quality_factor(self) -> float:
        """R sqrt(C / L); infinite without resistors."""
        reactive_var = math.sqrt(self.inductive_var * self.capacitive_var)
        return reactive_var / self.power_w if self.power_w else math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadSpec:
    """What hangs at load_ac, equal in its three phases.

    Attributes:
        kind: whether its impedance or its power is constant.
        power_w: at time zero, three phases together, at nominal voltage.
        nominal_voltage_v: line-to-neutral.
        dead_below_pu: a constant-power load draws nothing below this; both count as dead. Ours: ITIC lets
            supplies stop below 0.7 after 20 ms, and wide-range ones run down to 0.4.
        dead_band_pu: what was dead is back above the dead level by this (ours: supplies that switch off at
            170 V and on at 178 V of 230 V have 0.035).
        power_factor: active over apparent power of what is no RLC circuit, above 0 up to 1.
        is_capacitive: whether its current leads.
        inrush_factor: inductive current on energising after a long rest, of the load's current at nominal
            voltage; after a jump of the supply's angle or a short gap it follows the mismatch of the flux.
        inrush_time_constant_s: of its exponential decay.
        restart_delay_s: above zero; what died draws nothing until its voltage was back for so long; None: it
            never stops by itself, and draws again in the instant in which there is voltage.
        hold_up_s: for how long it lives below the dead level, with a restart delay alone.
        rlc: a parallel RLC load beside it, for islands.
    """

    kind: LoadKind = LoadKind.RESISTIVE
    power_w: float = 0.0
    nominal_voltage_v: float = 115.470053838
    dead_below_pu: float = 0.5
    dead_band_pu: float = 0.02
    power_factor: float = 1.0
    is_capacitive: bool = False
    inrush_factor: float = 0.0
    inrush_time_constant_s: float = 0.05
    restart_delay_s: float | None = None
    hold_up_s: float = 0.0
    rlc: RlcSpec | None = None

    def __post_init__(self) -> None:
        """Refuse what no load is.

        Raises:
            ValueError: a key and what is allowed.
        """
        _check("load", "nominal_voltage_v", self.nominal_voltage_v, above=0.0)
        _check("load", "inrush_time_constant_s", self.inrush_time_constant_s, above=0.0)
        for key in ("power_w", "dead_below_pu", "dead_band_pu", "inrush_factor", "hold_up_s"):
            _check("load", key, getattr(self, key))
        if self.restart_delay_s is not None:
            _check("load", "restart_delay_s", self.restart_delay_s, above=0.0)
        if not 0.0 < self.power_factor <= 1.0:
            raise ValueError(f"load: power_factor={self.power_factor}; allowed above 0 up to 1")


def _check(who: str, key: str, value: float, *, above: float | None = None) -> None:
    """Refuse a number that is below zero, or not above a bound, or none."""
    if above is not None and not above < value < math.inf:
        raise ValueError(f"{who}: {key}={value}; allowed above {above:g}")
    if above is None and not 0.0 <= value < math.inf:
        raise ValueError(f"{who}: {key}={value}; allowed 0 and above")


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratorSpec:
    """A stand-by generator set.

    Attributes:
        rated_power_w: active power, one per unit of it.
        rated_apparent_power_va: base of its reactance.
        nominal_voltage_v: line-to-neutral.
        frequency_hz: at no load.
        start_s: from the command to voltage and frequency (NFPA 110 type 10, from memory: 10 s).
        warm_up_s: from there until it may take load.
        cool_down_s: without load, from the command to standstill.
        start_failure_probability: of each attempt, keyed by the rig's seed and the attempt's number.
        attempts: before it gives up (NFPA 110, from memory: three cranking cycles).
        rest_s: between two attempts.
        droop: fall of the frequency at rated power, a fraction of nominal.
        governor_time_constant_s: of fuel rack and engine together.
        inertia_s: H, kinetic energy over rated power.
        most_power_pu: of the engine.
        transient_reactance_pu: behind which the voltage dips before its regulator acts.
        resistance_pu: of the stator.
        regulator_time_constant_s: in which the voltage comes back.
        voltage_droop: fall of the voltage at rated reactive power, a fraction of nominal.
        overload_pu: active power above this for ``overload_delay_s`` stops it.
        overload_delay_s: see above.
        reverse_power_pu: power into it above this for ``reverse_delay_s`` stops it: an engine cannot sink.
        reverse_delay_s: see above.
        slow_pu: speed below this for ``slow_delay_s`` stops it.
        slow_delay_s: see above.

    Figures without a source are ours: those of a small diesel set, as data sheets of such machines agree on.
    """

    rated_power_w: float = 16_000.0
    rated_apparent_power_va: float = 20_000.0
    nominal_voltage_v: float = 115.470053838
    frequency_hz: float = 60.0
    start_s: float = 10.0
    warm_up_s: float = 0.0
    cool_down_s: float = 0.0
    start_failure_probability: float = 0.0
    attempts: int = 3
    rest_s: float = 10.0
    droop: float = 0.04
    governor_time_constant_s: float = 0.2
    inertia_s: float = 1.0
    most_power_pu: float = 1.2
    transient_reactance_pu: float = 0.2
    resistance_pu: float = 0.01
    regulator_time_constant_s: float = 0.15
    voltage_droop: float = 0.0
    overload_pu: float = 1.1
    overload_delay_s: float = 10.0
    reverse_power_pu: float = 0.05
    reverse_delay_s: float = 2.0
    slow_pu: float = 0.85
    slow_delay_s: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what no machine is.

        Raises:
            ValueError: a key and what is allowed.
        """
        for key in (
            "rated_power_w",
            "rated_apparent_power_va",
            "nominal_voltage_v",
            "frequency_hz",
            "droop",
            "governor_time_constant_s",
            "inertia_s",
            "most_power_pu",
            "transient_reactance_pu",
            "regulator_time_constant_s",
        ):
            _check("generator", key, getattr(self, key), above=0.0)
        for key in ("start_s", "warm_up_s", "cool_down_s", "rest_s", "resistance_pu", "voltage_droop"):
            _check("generator", key, getattr(self, key))
        if not 0.0 <= self.start_failure_probability <= 1.0:
            probability = self.start_failure_probability
            raise ValueError(f"generator: start_failure_probability={probability}; allowed 0 to 1")
        if self.attempts < 1:
            raise ValueError(f"generator: attempts={self.attempts}; allowed 1 and above")


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferSwitchSpec:
    """A switch between the mains and a second source: it breaks before it makes.

    ``static`` and ``mechanical`` give the two usual sets of numbers.

    Attributes:
        low_pu: a source with a phase below this is lost. Ours, as the next: switches are set to 0.80 to 0.90
            and 1.10 to 1.20, so that they leave what supplies need not bear for long (ITIC: 0.8 for 10 s).
        high_pu: a source with a phase above this is lost.
        frequency_window_hz: a source further from its nominal frequency is lost. Ours: 5 %, wide enough for a
            generator's droop and load steps.
        detect_s: from the loss to the opening.
        gap_s: from one source's opening to the other's closing.
        in_phase_deg: sources further apart than this are out of phase. Ours: the customary 15 degrees, where
            two sources differ by a quarter of their voltage.
        out_of_phase_gap_s: gap where they are: long enough for what is magnetised to forget; None: it waits
            until they slip into phase, and for ever if they do not.
        checks_phase: False closes at any angle: an out-of-phase transfer.
        return_s: good mains until it goes back to them; None: by command alone.
        start_after_s: lost mains until it starts the generator; None: somebody else does.
    """

    low_pu: float = 0.85
    high_pu: float = 1.15
    frequency_window_hz: float = 3.0
    detect_s: float = 0.05
    gap_s: float = 0.1
    in_phase_deg: float = 15.0
    out_of_phase_gap_s: float | None = 0.5
    checks_phase: bool = True
    return_s: float | None = 300.0
    start_after_s: float | None = 1.0

    def __post_init__(self) -> None:
        """Refuse what no switch is.

        Raises:
            ValueError: a key and what is allowed.
        """
        for key in ("low_pu", "detect_s", "in_phase_deg"):
            _check("transfer switch", key, getattr(self, key))
        for key in ("gap_s", "frequency_window_hz"):
            _check("transfer switch", key, getattr(self, key), above=0.0)
        for key in ("out_of_phase_gap_s", "return_s", "start_after_s"):
            if getattr(self, key) is not None:
                _check("transfer switch", key, getattr(self, key))
        _check("transfer switch", "high_pu", self.high_pu, above=self.low_pu)

    @classmethod
    def static(cls, frequency_hz: float, *, return_s: float | None = 5.0) -> TransferSwitchSpec:
        """Thyristors: a quarter of a cycle in all (IEC 62310-3's usual promise, from memory).

        Half of it detects, and half is the gap; out of phase it waits 20 ms, which supplies hold up (ITIC). A
        wait spares a core above some 60 degrees; below, the flux that it has lost makes the larger inrush.
        """
        quarter_s = 0.25 / frequency_hz
        return cls(
            detect_s=0.5 * quarter_s,
            gap_s=0.5 * quarter_s,
            out_of_phase_gap_s=0.02,
            return_s=return_s,
            start_after_s=None,
        )

    @classmethod
    def mechanical(cls, *, return_s: float | None = 300.0) -> TransferSwitchSpec:
        """Contactors: 50 to 500 ms in all is typical (ours: 50 ms to detect, a gap of 100 ms)."""
        return cls(return_s=return_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class SolarSpec:
    """A solar array with its inverter, at the bus.

    Attributes:
        sky: name of a file in ``harness/plant/skies`` without its suffix: place, air and clouds.
        rated_dc_w: of the modules at 1000 W/m2 and 25 degC.
        rated_ac_w: of the inverter, where it clips.
        inverter_efficiency: flat. Ours, like the next two: what data sheets of inverters and of crystalline
            silicon modules agree on (96 to 98 %, -0.30 to -0.40 % a kelvin, 43 to 47 degC).
        temperature_coefficient_per_k: of the modules' power, a negative number.
        nominal_cell_temperature_degc: NOCT, of a module at 800 W/m2 and 20 degC.
        day_of_year: of time zero, 1 for the first of January.
        starts_at_s: local clock at time zero, after midnight.
        interval_s: in which its power is held at the mean of the interval.
        has_clouds: whether the sky's clouds pass, keyed by the rig's seed.
        restart_s: voltage that stays until it starts again; 300 s is the default of IEEE 1547-2018, table 4.
        follows_islands: whether it feeds an island that the converter forms.
        frequency_watt: by how much it gives less at a high frequency; None: not at all. The default is the
            steepest that IEEE 1547-2018 allows (category III, 2 %), so that an island may take all of it away
            at 2.1 % above nominal (61.2 Hz); the standard's own 5 % needs 63.0 Hz, above the trip at 62.0.
            The response of 1 s is ours, out of the standard's 0.2 to 10 s.
    """

    sky: str = "osaka"
    rated_dc_w: float = 6000.0
    rated_ac_w: float = 5000.0
    inverter_efficiency: float = 0.97
    temperature_coefficient_per_k: float = -0.0035
    nominal_cell_temperature_degc: float = 45.0
    day_of_year: int = 172
    starts_at_s: float = 0.0
    interval_s: float = 5.0
    has_clouds: bool = True
    restart_s: float = 300.0
    follows_islands: bool = False
    frequency_watt: FrequencyDroop | None = field(
        default_factory=lambda: FrequencyDroop(over_droop=0.02, response_s=1.0)
    )

    def __post_init__(self) -> None:
        """Refuse what no array is.

        Raises:
            ValueError: a key and what is allowed.
        """
        for key in ("rated_dc_w", "rated_ac_w", "inverter_efficiency", "interval_s"):
            _check("solar", key, getattr(self, key), above=0.0)
        for key in ("starts_at_s", "restart_s"):
            _check("solar", key, getattr(self, key))
        if not 1 <= self.day_of_year <= 366:
            raise ValueError(f"solar: day_of_year={self.day_of_year}; allowed 1 to 366")
        if self.temperature_coefficient_per_k > 0.0:
            coefficient = self.temperature_coefficient_per_k
            raise ValueError(f"solar: temperature_coefficient_per_k={coefficient}; allowed 0 and below")


@dataclass(frozen=True, kw_only=True, slots=True)
class PlantSpec:
    """Everything that a RigPlant is made of.

    Attributes:
        battery: the string.
        bms: its management system.
        converter: the PCS.
        grid: the AC source.
        load: the critical load.
        generator: the second source of the transfer switch, or none.
        second_mains: the same, where it is a feeder.
        transfer_switch: between mains and second source; needs one of the two.
        solar: an array at the bus, or none.
        ambient_degc: around cells and converter.
        seed: keys every random draw.
    """

    battery: BatterySpec = field(default_factory=BatterySpec)
    bms: BmsSpec = field(default_factory=BmsSpec)
    converter: ConverterSpec = field(default_factory=ConverterSpec)
    grid: GridSpec = field(default_factory=GridSpec)
    load: LoadSpec = field(default_factory=LoadSpec)
    generator: GeneratorSpec | None = None
    second_mains: GridSpec | None = None
    transfer_switch: TransferSwitchSpec | None = None
    solar: SolarSpec | None = None
    ambient_degc: float = 25.0
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuse a switch without two sources, and sources without a switch.

        Raises:
            ValueError: what there is and what is allowed.
        """
        second = (self.generator is not None) + (self.second_mains is not None)
        if second != (self.transfer_switch is not None):
            raise ValueError(
                f"plant: {second} second sources, transfer switch: {self.transfer_switch is not None}; "
                "allowed: generator or second_mains with a transfer switch, or none of them"
            )
