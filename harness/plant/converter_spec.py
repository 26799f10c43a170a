"""What a converter is made of, as data."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.plant.anti_islanding import SandiaShift
from harness.plant.efficiency import LossMap, quadratic
from harness.plant.grid_support import GridSupportSpec
from harness.plant.ride_through import RideThrough, ieee1547_category_2


@dataclass(frozen=True, kw_only=True, slots=True)
class EnterService:
    """When the grid counts as good, and how the converter comes back (IEEE 1547-2018, 4.10, table 4).

    Attributes:
        voltage_pu: window of voltage.
        frequency_hz: window of frequency, as deviation from nominal.
        delay_s: of good mains before it transfers back from an island, or comes back after a trip.
            The default is ours, for models and their tests, and not table 4's of 300 s, which allows 0 to
            600; what a product waits its file says.
        random_delay_s: most that is drawn on top of it; keyed, so equal runs draw the same. IEEE 1547 leaves
            it to units below 500 kVA that do not ramp.
        ramp_s: from no active power to the rating, along a straight limit; zero: the set-point's own ramp.
    """

    voltage_pu: tuple[float, float] = (0.917, 1.05)
    frequency_hz: tuple[float, float] = (-0.5, 0.1)
    delay_s: float = 10.0
    random_delay_s: float = 0.0
    ramp_s: float = 0.0

    def mistakes(self, apparent_va: float) -> tuple[str, ...]:
        """What IEEE 1547-2018 does not allow (table 4 as OpenDER 2.2 has it), each as a sentence."""
        (low_pu, high_pu), (down_hz, up_hz) = self.voltage_pu, self.frequency_hz
        found = [
            f"{name}={value:g}; allowed {low:g} to {high:g}"
            for name, value, low, high in (
                ("voltage_pu, lower", low_pu, 0.88, 0.95),
                ("voltage_pu, upper", high_pu, 1.05, 1.06),
                ("frequency_hz, lower", down_hz, -1.0, -0.1),
                ("frequency_hz, upper", up_hz, 0.1, 1.0),
                ("delay_s", self.delay_s, 0.0, 600.0),
                ("random_delay_s", self.random_delay_s, 0.0, 1000.0),
                ("ramp_s", self.ramp_s, 0.0, 1000.0),
            )
            if not low <= value <= high
        ]
        if self.random_delay_s > 0.0 and (self.ramp_s > 0.0 or apparent_va >= 500e3):
            found.append(
                f"random_delay_s={self.random_delay_s:g}; allowed only below 500 kVA and without ramp_s"
            )
        return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConverterSpec:
    """A bidirectional, three-phase converter (PCS) with an internal transfer switch.

    Figures without a source are ours: those of a 10 kW unit at 48 V of DC, as data sheets of such units agree
    on. A product's are its file's.

    Attributes:
        rated_power_w: discharge power, three phases together.
        rated_charge_power_w: charge power, a positive number.
        rated_apparent_power_va: limit of active and reactive power taken together.
        nominal_voltage_v: line-to-neutral; one per unit.
        nominal_frequency_hz: of the island that it forms.
        current_limit_pu: largest phase current in per unit of the rated apparent power's current.
        maximum_dc_current_a: of its DC side, either direction.
        minimum_dc_voltage_v: it limits discharge so as not to pull the DC side below this, and stops there;
            its own losses come from the mains then. Charging has no such limit: it starts from 0 V, as a
            battery that was stripped needs.
        ramp_w_per_s: of the active power set-point.
        ramp_var_per_s: of the reactive power set-point.
        fast_ramp_w_per_s: of the way to zero after the BMS fell silent.
        response_s: open-loop response time Tr of power to its ramped set-point: 90 % of a step at Tr.
        current_time_constant_s: of the current control and phase lock together.
        losses: whenever it is on, by AC power and DC voltage.
        starts_on: whether it was turned on at time zero.
        start_delay_s: from turning on, with good mains, to the first current.
        islanding: whether it carries the load when mains are lost.
        transfer_gap_s: from the opening of the source to a formed voltage.
        transfer_below_pu: mains voltage below which it leaves the mains; None: for a loss of mains only.
        transfer_after_s: for how long it must be below.
        overload_s: time beyond rated apparent power, its own, in an island until it trips; and of a surplus
            that the highest frequency has not taken away.
        shift_hz_per_s: how fast an island's frequency rises at a surplus of the rated apparent power, so that
            solar arrays take their frequency-watt response. The default is ours: f0 droop ln(10) / (2 Tr),
            which damps the loop by 0.7 with an array as large as the converter, of 2 % and 1 s.
        most_shift_hz: by which it rises at most (ours: 0.5 Hz below IEEE 1547-2018's trip at 62.0 Hz); zero:
            not at all.
        enter_service: good mains, and coming back to them.
        synchronise_s: time of the slip that brings the island in phase with the mains; at half a turn the
            island is 1 / (2 synchronise_s) off their frequency.
        return_gap_s: dead time of the load on the way back to the mains; zero: the switch makes before it
            breaks.
        ride_through: protections and behaviour by voltage band.
        grid_support: functions that find power by voltage and frequency.
        anti_islanding: active detection; None: off.
        bms_timeout_s: silence of the BMS that brings power to zero; None: unsupervised.
        thermal_resistance_k_per_w: of the heat sink to ambient.
        thermal_time_constant_s: of the heat sink.
    """

    rated_power_w: float = 10_000.0
    rated_charge_power_w: float = 10_000.0
    rated_apparent_power_va: float = 10_000.0
    nominal_voltage_v: float = 115.470053838
    nominal_frequency_hz: float = 60.0
    current_limit_pu: float = 1.2
    maximum_dc_current_a: float = 300.0
    minimum_dc_voltage_v: float = 38.0
    ramp_w_per_s: float = 20_000.0
    ramp_var_per_s: float = 20_000.0
    fast_ramp_w_per_s: float = 50_000.0
    response_s: float = 0.1
    current_time_constant_s: float = 0.005
    losses: LossMap = field(
        default_factory=lambda: quadratic(idle_w=30.0, linear=0.012, square_per_w=2.0e-6, most_w=10_000.0)
    )
    starts_on: bool = False
    start_delay_s: float = 1.0
    islanding: bool = True
    transfer_gap_s: float = 0.008
    transfer_below_pu: float | None = 0.5
    transfer_after_s: float = 1.0
    overload_s: float = 10.0
    shift_hz_per_s: float = 1.4
    most_shift_hz: float = 1.5
    enter_service: EnterService = field(default_factory=EnterService)
    synchronise_s: float = 1.0
    return_gap_s: float = 0.0
    ride_through: RideThrough = field(default_factory=ieee1547_category_2)
    grid_support: GridSupportSpec = field(default_factory=GridSupportSpec)
    anti_islanding: SandiaShift | None = None
    bms_timeout_s: float | None = 5.0
    thermal_resistance_k_per_w: float = 0.08
    thermal_time_constant_s: float = 600.0
