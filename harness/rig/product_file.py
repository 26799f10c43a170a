"""The product file: the thing under test as data, its limits included."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from harness.errors import ConfigurationError
from harness.rig.product_inverter import FrequencyTrips, Inverter
from harness.rig.toml_file import (
    Count,
    Fraction,
    FractionWindow,
    Frequencies,
    Name,
    NonNegative,
    Part,
    Positive,
    Window,
    numbers,
    rises,
    unknown,
)
from harness.rig.topology import Phases


class Identity(Part):
    """Who the product is.

    Attributes:
        kind: what the product is, in a word.
        note: where the numbers of this file come from, and whose product they do not describe.
    """

    maker: str
    model: str
    kind: Literal["battery_rack", "battery_rack_with_pcs"]
    note: str


class Ratings(Part):
    """What the nameplate promises.

    Attributes:
        discharge_power_w: active power out of the AC terminals.
        charge_power_w: active power into the AC terminals, as a positive number.
        apparent_power_va: of the converter.
        capacity_ah: at the reference conditions, at the rated discharge power.
        energy_wh: at the DC terminals, at the reference conditions.
        dc_voltage_v: nominal.
        ac_voltage_v: nominal, line to neutral.
        phases: of the AC side.
        frequencies_hz: that it is made for.
    """

    discharge_power_w: Positive
    charge_power_w: Positive
    apparent_power_va: Positive
    capacity_ah: Positive
    energy_wh: Positive
    dc_voltage_v: Positive
    ac_voltage_v: Positive
    phases: Phases
    frequencies_hz: Frequencies


class Windows(Part):
    """Where the product may be used.

    Attributes:
        voltage_v: at the battery's terminals.
        current_a: out of the battery; the lowest is the largest charge current with a minus sign.
        charge_temperature_degc: of the cells while charging.
        discharge_temperature_degc: of the cells while discharging.
        soc: state of charge in use.
    """

    voltage_v: Window
    current_a: Window
    charge_temperature_degc: Window
    discharge_temperature_degc: Window
    soc: FractionWindow


class Reference(Part):
    """The conditions that the ratings hold at.

    Attributes:
        temperature_degc: band of the cells' temperature.
        rest_s: without current before a measurement of capacity or resistance.
    """

    temperature_degc: Window
    rest_s: NonNegative


class Spread(Part):
    """How far the cells differ, as standard deviations.

    Attributes:
        capacity: of the capacity, as a fraction of it.
        resistance: of the resistance, as a fraction of it.
        soc: of the state of charge.
        thermal: of how far a group warms above its module.
    """

    capacity: Fraction = 0.0
    resistance: Fraction = 0.0
    soc: Fraction = 0.0
    thermal: Fraction = 0.0


class Modules(Part):
    """The modules that a string is made of, and how they are cooled.

    Attributes:
        cells_in_series: groups of parallel cells in a module.
        heat_capacity_j_per_k: of a module without its cells.
        conductance_w_per_k: of a module to ambient, uncooled.
        cooling_w_per_k: what fan or liquid adds to it while it runs.
    """

    cells_in_series: Count
    heat_capacity_j_per_k: Positive
    conductance_w_per_k: Positive
    cooling_w_per_k: NonNegative = 0.0


class Battery(Part):
    """The string of cells.

    Attributes:
        chemistry: name of a data set of the plant's chemistries.
        cells_in_series: groups of parallel cells in the string.
        cells_in_parallel: cells in a group.
        initial_soc: at which an emulated run starts.
        initial_soh: capacity left of the new one's, at which an emulated run starts.
        strings: of this kind in parallel.
        age_days: of the cells, at which an emulated run starts on the curve of calendar ageing.
        full_cycles: behind the cells, likewise.
        connection_resistance_ohm: busbars, fuse and contactors of a whole string.
        bleed_resistance_ohm: of the resistor that balances a group; None: there is none.
        modules: of a string; None: its groups stand in ambient air.
        has_insulation_monitor: whether the product itself measures insulation on the DC side.
        spread: between the groups.
    """

    chemistry: Name
    cells_in_series: Count
    cells_in_parallel: Count
    initial_soc: Fraction
    initial_soh: Fraction = 1.0
    strings: Count = 1
    age_days: NonNegative = 30.0
    full_cycles: NonNegative = 10.0
    connection_resistance_ohm: NonNegative = 0.0
    bleed_resistance_ohm: Positive | None = None
    modules: Modules | None = None
    has_insulation_monitor: bool = False
    spread: Spread = Spread()

    @field_validator("chemistry")
    @classmethod
    def _is_known(cls, chemistry: str) -> str:
        # By way of the package above, since importing the plant loads numpy.
        folder = resources.files("harness") / "plant" / "chemistries"
        known = [file.name[:-5] for file in folder.iterdir() if file.name.endswith(".toml")]
        if chemistry not in known:
            raise ValueError(unknown("chemistry", chemistry, known))
        return chemistry

    @model_validator(mode="after")
    def _fills_its_modules(self) -> Battery:
        if self.modules is not None and self.cells_in_series % self.modules.cells_in_series:
            raise ValueError(
                f"modules.cells_in_series={self.modules.cells_in_series}; "
                f"allowed a divisor of cells_in_series={self.cells_in_series}"
            )
        return self


class SubUnit(Part):
    """A part of the product with an identity of its own.

    Attributes:
        kind: what it is, in a word.
        model: the maker's name of it.
        serial: empty in a product file: asked for, or read, when a unit stands on the rig.
        part_of: the sub-unit it stands in; None for one that stands in the product itself.
        cells_in_series: how many groups of the string it holds.
    """

    kind: Name
    model: str
    serial: str = ""
    part_of: Name | None = None
    cells_in_series: Annotated[int, Field(ge=0)] = 0


Curve = Annotated[tuple[tuple[float, Fraction], ...], Field(min_length=2), AfterValidator(rises)]
"""Points (quantity, fraction), the quantity rising; straight between, flat beyond."""


PositiveCurve = Annotated[tuple[tuple[Positive, Positive], ...], Field(min_length=2), AfterValidator(rises)]
"""Points of two positive numbers, the first rising; straight between on logarithmic scales."""


class Levels(Part):
    """One level of a battery management system's limits.

    Attributes:
        cell_over_voltage_v: highest cell above this.
        cell_under_voltage_v: lowest cell below this, in normal operation.
        over_current_factor: of the current limit, either direction.
        over_temperature_degc: hottest cell above this.
        under_temperature_degc: coldest cell below this.
    """

    cell_over_voltage_v: Positive
    cell_under_voltage_v: Positive
    over_current_factor: Annotated[float, Field(gt=1.0)]
    over_temperature_degc: float
    under_temperature_degc: float


class SecondCurrentSensor(Part):
    """A second current sensor, to compare the first with.

    Attributes:
        gain_error: as a fraction.
        offset: in A, at no current.
        noise: standard deviation, in A.
        span: lowest and highest current that it shows, in A.
    """

    gain_error: float = 0.0
    offset: float = 0.0
    noise: NonNegative = 0.0
    span: Window


class Plausibility(Part):
    """When measurements contradict each other.

    Attributes:
        cell_sum_fraction: of the charge voltage limit, between the sum of the cells and the string.
        current_a: between two current sensors.
        delay_s: for how long.
    """

    cell_sum_fraction: Fraction
    current_a: Positive
    delay_s: NonNegative


class Sensors(Part):
    """Errors of the battery management system's own measurements.

    Attributes:
        sample_interval_s: between measurements.
        soc_error: of its estimate at the start of a run, estimate less truth.
        current_gain_error: as a fraction.
        current_offset_a: at no current.
        current_noise_a: standard deviation.
        voltage_gain_error: as a fraction.
        voltage_offset_v: at no voltage.
        voltage_noise_v: standard deviation.
        cell_voltage_error_v: standard deviation of the offsets of the cells' channels.
        cell_voltage_span_v: lowest and highest cell voltage that is believed, in normal operation.
        temperature_error_k: standard deviation of the offsets of the temperature sensors.
        temperature_span_degc: lowest and highest temperature that is believed.
        temperature_noise_k: standard deviation.
        second_current: a second current sensor, where there is one.
        plausibility: when measurements contradict each other.
    """

    sample_interval_s: Positive
    soc_error: float = 0.0
    current_gain_error: float = 0.0
    current_offset_a: float = 0.0
    current_noise_a: NonNegative = 0.0
    voltage_gain_error: float = 0.0
    voltage_offset_v: float = 0.0
    voltage_noise_v: NonNegative = 0.0
    cell_voltage_error_v: NonNegative = 0.0
    cell_voltage_span_v: Window
    temperature_error_k: NonNegative = 0.0
    temperature_span_degc: Window
    temperature_noise_k: NonNegative = 0.0
    second_current: SecondCurrentSensor | None = None
    plausibility: Plausibility


class Contactor(Part):
    """Each of the three contactors: two mains and the one of the precharge.

    Attributes:
        close_delay_s: from the command to closed contacts.
        open_delay_s: from the command to open contacts.
        feedback_delay_s: for how long its auxiliary contact may disagree with the command beyond that.
        breaks: (current, how often it can be broken), as the maker says; above the last it welds.
    """

    close_delay_s: NonNegative
    open_delay_s: NonNegative
    feedback_delay_s: Positive
    breaks: PositiveCurve


class Precharge(Part):
    """How the DC link is charged before the contactors close, and discharged after they opened.

    Attributes:
        resistance_ohm: of the resistor.
        link_capacitance_f: of the link.
        done_fraction: of the string's voltage, at which the main contactor closes.
        shortest_s: a link that is charged sooner is not there.
        longest_s: a link that is not charged by then never will be.
        tries: until it gives up.
        pause_s: between two tries.
        discharge_resistance_ohm: across the link while the contactors are open.
    """

    resistance_ohm: Positive
    link_capacitance_f: Positive
    done_fraction: Fraction
    shortest_s: NonNegative
    longest_s: Positive
    tries: Count
    pause_s: NonNegative
    discharge_resistance_ohm: Positive

    @model_validator(mode="after")
    def _has_time(self) -> Precharge:
        whole_s = (
            -self.resistance_ohm * self.link_capacitance_f * math.log(max(1.0 - self.done_fraction, 1e-9))
        )
        if not self.shortest_s < whole_s < self.longest_s:
            raise ValueError(
                f"shortest_s {self.shortest_s} and longest_s {self.longest_s}: allowed: below and above "
                f"{whole_s:.3g} s, as resistor, link and done_fraction give"
            )
        return self


class Fuse(Part):
    """The fuse of each string.

    Attributes:
        melting: (current, time until it melts from cold); never below the first.
        cooling_s: time constant with which it forgets.
    """

    melting: PositiveCurve
    cooling_s: Positive


class InsulationMonitor(Part):
    """What measures the insulation against earth.

    Attributes:
        warning_ohm: less than this warns.
        alarm_ohm: less than this is an alarm.
        response_s: to a fault of half of ``alarm_ohm``.
        relative_error: of the measured resistance.
        recovery_factor: of either level, above which it is over.
        opens: whether the alarm opens the contactors.
    """

    warning_ohm: Positive
    alarm_ohm: Positive
    response_s: Positive
    relative_error: Annotated[float, Field(gt=-1.0)] = 0.0
    recovery_factor: Annotated[float, Field(ge=1.0)]
    opens: bool


class Insulation(Part):
    """Insulation of the string against earth.

    Attributes:
        plus_ohm: from the positive pole.
        minus_ohm: from the negative pole.
        monitor: what measures it; where ``battery.has_insulation_monitor`` says that something does.
    """

    plus_ohm: Positive
    minus_ohm: Positive
    monitor: InsulationMonitor | None = None


class Hydrogen(Part):
    """Hydrogen in the enclosure of a chemistry that makes it, and the levels of its detector.

    Attributes:
        volume_m3: of air.
        airflow_m3_per_h: with its fan.
        natural_fraction: of that, without.
        warning: more than this share warns.
        limit: more than this forbids charging.
        alarm: more than this opens the contactors.
        hysteresis: by which it must be back.
    """

    volume_m3: Positive
    airflow_m3_per_h: Positive
    natural_fraction: Annotated[float, Field(gt=0.0, le=1.0)]
    warning: Fraction
    limit: Fraction
    alarm: Fraction
    hysteresis: Fraction

    @model_validator(mode="after")
    def _rises(self) -> Hydrogen:
        if not self.hysteresis < self.warning < self.limit < self.alarm:
            raise ValueError(
                f"hysteresis {self.hysteresis}, warning {self.warning}, limit {self.limit}, "
                f"alarm {self.alarm}: allowed: each above the one before"
            )
        return self


class Balancing(Part):
    """When bleed resistors discharge the highest cells.

    Attributes:
        start_spread_v: between highest and lowest cell, beyond which it begins.
        stop_spread_v: what is above the lowest cell by more than this is bled.
        from_cell_v: lower cells are not bled.
        rest_current_a: less than this, either direction, is rest.
        while_charging: whether it balances then.
        while_resting: whether it balances then.
        interval_s: between two decisions.
        warning_spread_v: between highest and lowest cell, beyond which it warns.
    """

    start_spread_v: Positive
    stop_spread_v: Positive
    from_cell_v: NonNegative
    rest_current_a: Positive
    while_charging: bool
    while_resting: bool
    interval_s: Positive
    warning_spread_v: Positive

    @model_validator(mode="after")
    def _stops_before_it_starts(self) -> Balancing:
        if self.stop_spread_v >= self.start_spread_v:
            raise ValueError(
                f"stop_spread_v {self.stop_spread_v}: allowed: below start_spread_v {self.start_spread_v}"
            )
        return self


class Bms(Part):
    """The battery management system.

    Attributes:
        protocol: variant of the CAN protocol that it speaks.
        period_s: between its sets of frames.
        charge_voltage_limit_v: highest voltage that it asks a charger to hold.
        discharge_voltage_limit_v: lowest voltage that it asks for.
        charge_current_limit_a: largest charge current, as a positive number.
        discharge_current_limit_a: largest discharge current, as a positive number.
        charge_taper: fraction of the charge current limit over state of charge.
        discharge_taper: fraction of the discharge current limit over state of charge.
        temperature_derating: fraction of both current limits over temperature in degC.
        charge_stop_cell_v: highest cell at which a charge ends.
        discharge_stop_cell_v: lowest cell at which a discharge ends.
        full_current_a: charge current below which, at the voltage limit, the battery is full.
        full_delay_s: for how long it must be below.
        restart_soc_step: to move away from an end before that direction is allowed again.
        resets_soc_at_full: whether full sets its estimate to 1.
        assumed_coulombic_efficiency: share of a charge that its counting takes for stored.
        resets_soc_at_empty: whether the end of a discharge sets its estimate to 0.
        limit_delay_s: from beyond a limit level to the forbidden direction.
        limit_recovery_s: for how long it must be back.
        alarm_delay_s: from beyond an alarm level to the command to open.
        voltage_hysteresis_v: by which a cell must be back.
        current_hysteresis_factor: by which a current must be back, of the current limit.
        temperature_hysteresis_k: by which a temperature must be back.
        warnings: first level.
        limits: second level; forbids what makes it worse.
        alarms: third level; opens the contactors.
        sensors: their errors.
        contactor: each of the three.
        precharge: of the DC link.
        fuse: of each string; None: none.
        string_window_fraction: of the charge voltage limit, by which a string may be off the others' voltage
            when it is closed onto them.
        string_window_current_a: mean current of the closed strings, up to which another may be closed.
        insulation: of the string.
        balancing: of the cells; None: none.
        hydrogen: in the enclosure; None: nobody looks.
    """

    protocol: Literal["pylontech_1.2", "pylontech_1.3"]
    period_s: Positive
    charge_voltage_limit_v: Positive
    discharge_voltage_limit_v: Positive
    charge_current_limit_a: Positive
    discharge_current_limit_a: Positive
    charge_taper: Curve
    discharge_taper: Curve
    temperature_derating: Curve
    charge_stop_cell_v: Positive
    discharge_stop_cell_v: Positive
    full_current_a: Positive
    full_delay_s: NonNegative
    restart_soc_step: Fraction
    resets_soc_at_full: bool
    assumed_coulombic_efficiency: Fraction
    resets_soc_at_empty: bool = False
    limit_delay_s: NonNegative
    limit_recovery_s: NonNegative
    alarm_delay_s: NonNegative
    voltage_hysteresis_v: NonNegative
    current_hysteresis_factor: NonNegative
    temperature_hysteresis_k: NonNegative
    warnings: Levels
    limits: Levels
    alarms: Levels
    sensors: Sensors
    contactor: Contactor
    precharge: Precharge
    fuse: Fuse | None = None
    # Half a per cent is ours, 20 A is foxBMS 2's; a product of one string has no use for them.
    string_window_fraction: Fraction = 0.005
    string_window_current_a: Positive = 20.0
    insulation: Insulation
    balancing: Balancing | None = None
    hydrogen: Hydrogen | None = None

    @property
    def closes_within_s(self) -> float:
        """Longest way from the command to closed contactors, or to giving up: every try at its longest."""
        each, way = self.contactor, self.precharge
        # Negative, precharge, positive, one after the other.
        contactors_s = 3.0 * (each.close_delay_s + each.feedback_delay_s)
        return way.tries * (way.longest_s + contactors_s) + (way.tries - 1) * way.pause_s

    @model_validator(mode="after")
    def _warns_first(self) -> Bms:
        late = [
            f"the {later} comes before the {sooner}: {name}"
            for name, sign in (
                ("cell_over_voltage_v", 1.0),
                ("cell_under_voltage_v", -1.0),
                ("over_current_factor", 1.0),
                ("over_temperature_degc", 1.0),
                ("under_temperature_degc", -1.0),
            )
            for sooner, first, later, second in (
                ("warning", self.warnings, "limit", self.limits),
                ("limit", self.limits, "alarm", self.alarms),
            )
            if sign * getattr(first, name) >= sign * getattr(second, name)
        ]
        if late:
            raise ValueError("\n".join(late))
        return self


class Strip(Part):
    """The full discharge that a zinc-halogen battery needs from time to time.

    Attributes:
        interval_max_s: longest time between the ends of two strips.
        end_voltage_v: at the string's terminals, at the end of a strip.
        discharge_current_a: while stripping, as a positive number.
        load_ohm: of the unit's own load that empties the string while its contactors are open.
        refill_current_a: largest charge current after a strip until all cells are back in their window, as a
            positive number.
        refill_timeout_s: without a rise of the lowest cell, until the unit gives up.
        least_cell_v: lowest cell voltage that the BMS believes until all cells are back.
        needs_permission: whether the lower voltage holds on permission only.
        is_available: whether the unit can carry a load meanwhile.
    """

    interval_max_s: Positive
    end_voltage_v: NonNegative
    discharge_current_a: Positive
    load_ohm: Positive
    refill_current_a: Positive
    refill_timeout_s: Positive
    least_cell_v: float
    needs_permission: bool
    is_available: bool


class ChargeProfile(Part):
    """How the product is charged.

    Attributes:
        command_w: active power to ask of the converter, as a positive number: so much that current and
            voltage are what limits.
        constant_current_a: of the first stage, as a positive number.
        constant_voltage_v: of the second stage.
        taper_current_a: at which the second stage ends, as a positive number.
        end_cause: what ends the charge: its taper, or the battery while current still flows, as after a
            counted amount of charge.
    """

    command_w: Positive
    constant_current_a: Positive
    constant_voltage_v: Positive
    taper_current_a: Positive
    end_cause: Literal["taper", "battery_limit"]

    @model_validator(mode="after")
    def _tapers_below(self) -> ChargeProfile:
        if self.taper_current_a >= self.constant_current_a:
            raise ValueError(
                f"taper_current_a {self.taper_current_a} is not below "
                f"constant_current_a {self.constant_current_a}"
            )
        return self


class Limits(Part):
    """What the maker promises beyond ratings and profile; requirements name them ``limits.<key>``.

    Attributes:
        rte_ac_min: round-trip efficiency at the AC terminals.
        rte_dc_min: round-trip efficiency at the battery's terminals.
        coulombic_efficiency_min: charge out over charge in, closed cycle.
        capacity_min_ah: from full to the end of discharge.
        capacity_max_ah: the same; more than this is a mistake of the measurement.
        energy_min_wh: from full to the end of discharge, at the battery's terminals.
        energy_max_wh: the same.
        charge_time_min_s: of a full charge from empty.
        charge_time_max_s: the same.
        bms_loss_stop_min_s: from the last frame that came through until there is no power.
        bms_loss_stop_max_s: the same.
        bms_loss_recover_min_s: from the return of the frames until there is power.
        bms_loss_recover_max_s: the same.
        response_time_max_s: from the command until the power stays within 2 % of the rating.
        power_deadband_w: what still counts as no power.
        dead_time_max_s: from the command to 10 % of the step.
        overshoot_max: power beyond the step, as a fraction of the rating.
        transfer_time_max_s: longest interruption of the critical load when the grid opens; of a grid that
            collapses and stays connected no plan asks it.
        retransfer_time_max_s: the same when the grid returns.
        load_voltage_min_pu: at the critical load in an island, and on its way back to the grid.
        load_voltage_max_pu: the same.
        load_frequency_tolerance_hz: the same, either side of the nominal frequency.
        over_voltage_trip_min_v: at the terminals, at which the battery's protection acts.
        over_voltage_trip_max_v: the same.
        under_voltage_trip_min_v: the same, for under-voltage.
        under_voltage_trip_max_v: the same.
        over_current_trip_max_s: until the protection has acted.
        over_temperature_trip_min_degc: at which the protection acts.
        over_temperature_trip_max_degc: the same.
        contactor_time_max_s: from the cause to open contactors.
        soc_error_max: of the reported state of charge.
        standby_loss_max_w: drawn at rest.
    """

    rte_ac_min: Fraction
    rte_dc_min: Fraction
    coulombic_efficiency_min: Fraction
    capacity_min_ah: Positive
    capacity_max_ah: Positive
    energy_min_wh: Positive
    energy_max_wh: Positive
    charge_time_min_s: Positive
    charge_time_max_s: Positive
    bms_loss_stop_min_s: NonNegative
    bms_loss_stop_max_s: Positive
    bms_loss_recover_min_s: NonNegative
    bms_loss_recover_max_s: Positive
    response_time_max_s: Positive
    power_deadband_w: Positive
    dead_time_max_s: Positive
    overshoot_max: Fraction
    transfer_time_max_s: Positive
    retransfer_time_max_s: Positive
    load_voltage_min_pu: Positive
    load_voltage_max_pu: Positive
    load_frequency_tolerance_hz: Positive
    over_voltage_trip_min_v: Positive
    over_voltage_trip_max_v: Positive
    under_voltage_trip_min_v: Positive
    under_voltage_trip_max_v: Positive
    over_current_trip_max_s: Positive
    over_temperature_trip_min_degc: float
    over_temperature_trip_max_degc: float
    contactor_time_max_s: Positive
    soc_error_max: Fraction
    standby_loss_max_w: Positive

    @model_validator(mode="after")
    def _is_ordered(self) -> Limits:
        values = self.model_dump()
        for key, lowest in values.items():
            highest = values.get(key.replace("_min", "_max"), lowest)
            if "_min" in key and lowest > highest:
                raise ValueError(f"{key} {lowest} is above {key.replace('_min', '_max')} {highest}")
        return self


class ProductFile(Part):
    """The thing under test.

    Attributes:
        name: what the record calls it.
        identity: who it is.
        ratings: its nameplate.
        windows: where it may be used.
        reference: conditions that its ratings hold at.
        battery: its string of cells.
        bms: its battery management system.
        charge_profile: how it is charged.
        inverter: its converter.
        limits: what plans judge.
        acceptance_plans: ids of the plans that its acceptance needs.
        sub_units: its parts that carry serial numbers.
        strip: the maintenance discharge, of chemistries that need one.
    """

    name: Name
    identity: Identity
    ratings: Ratings
    windows: Windows
    reference: Reference
    battery: Battery
    bms: Bms
    charge_profile: ChargeProfile
    inverter: Inverter
    limits: Limits
    acceptance_plans: Annotated[tuple[str, ...], Field(min_length=1)]
    sub_units: dict[Name, SubUnit]
    strip: Strip | None = None

    @field_validator("sub_units")
    @classmethod
    def _is_tree(cls, units: dict[str, SubUnit]) -> dict[str, SubUnit]:
        for name, unit in units.items():
            above, seen = unit.part_of, {name}
            while above is not None:
                if above not in units:
                    raise ValueError(f"{name}.part_of: {unknown('sub-unit', above, units)}")
                if above in seen:
                    raise ValueError(f"{name}.part_of: {above!r} stands in itself")
                seen.add(above)
                above = units[above].part_of
        return units

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> ProductFile:
        mistakes = [
            *self._battery_disagreements(),
            *self._power_disagreements(),
            *self._limits_in_another_unit(),
        ]
        if mistakes:
            raise ValueError("\n".join(mistakes))
        return self

    def _battery_disagreements(self) -> Iterator[str]:
        """Where the tables about the string of cells cannot be true together."""
        in_series = self.battery.cells_in_series
        held = sum(unit.cells_in_series for unit in self.sub_units.values())
        if held not in {0, in_series}:
            yield (
                f"sub_units hold {held} cells in series; allowed: {in_series}, "
                "as battery.cells_in_series says"
            )
        if self.battery.has_insulation_monitor is (self.bms.insulation.monitor is None):
            yield (
                f"battery.has_insulation_monitor = {str(self.battery.has_insulation_monitor).lower()}: "
                "allowed: true with bms.insulation.monitor, false without"
            )
        lowest, highest = self.windows.voltage_v
        ratings, nominal_v = self.ratings, self.ratings.dc_voltage_v
        if not lowest < nominal_v < highest:
            yield (
                f"ratings.dc_voltage_v = {nominal_v}: allowed: {lowest} to {highest}, "
                "as windows.voltage_v says"
            )
        meant_wh = ratings.capacity_ah * nominal_v
        if not 0.8 * meant_wh <= ratings.energy_wh <= 1.2 * meant_wh:  # ours: a mean voltage lies that near
            yield (
                f"ratings.energy_wh = {ratings.energy_wh}: allowed: within a fifth of {meant_wh:g}, as "
                "ratings.capacity_ah and ratings.dc_voltage_v say"
            )
        hold_v = self.charge_profile.constant_voltage_v
        if not lowest < hold_v <= highest:
            yield (
                f"charge_profile.constant_voltage_v = {hold_v}: allowed: {lowest} to {highest}, "
                "as windows.voltage_v says"
            )
        current_a, allowed_a = self.charge_profile.constant_current_a, self.bms.charge_current_limit_a
        if current_a > allowed_a:
            yield (
                f"charge_profile.constant_current_a = {current_a}: allowed: at most {allowed_a}, "
                "as bms.charge_current_limit_a says"
            )

    def _power_disagreements(self) -> Iterator[str]:
        """Where the tables about the converter cannot be true together with the others."""
        lowest, highest = self.windows.voltage_v
        dc_lowest, dc_highest = self.inverter.dc_voltage_v
        lowest_a, highest_a = self.windows.current_a
        if -lowest_a < self.bms.charge_current_limit_a or highest_a < self.bms.discharge_current_limit_a:
            yield (
                f"windows.current_a = [{lowest_a}, {highest_a}]: allowed: at least what bms allows, "
                f"[{-self.bms.charge_current_limit_a}, {self.bms.discharge_current_limit_a}]"
            )
        if lowest < dc_lowest or highest > dc_highest:
            yield (
                f"windows.voltage_v = [{lowest}, {highest}]: allowed: {dc_lowest} to {dc_highest}, "
                "as inverter.dc_voltage_v says"
            )
        if self.inverter.bms_timeout_s <= self.bms.period_s:
            yield (
                f"inverter.bms_timeout_s = {self.inverter.bms_timeout_s}: allowed: more than "
                f"{self.bms.period_s}, as bms.period_s says: a sound battery would count as silent"
            )
        for key, power_w, limit, allowed_w in (
            (
                "ratings.discharge_power_w",
                self.ratings.discharge_power_w,
                "ratings.apparent_power_va",
                self.ratings.apparent_power_va,
            ),
            (
                "ratings.charge_power_w",
                self.ratings.charge_power_w,
                "inverter.charge_power_w",
                self.inverter.charge_power_w,
            ),
            (
                "charge_profile.command_w",
                self.charge_profile.command_w,
                "inverter.charge_power_w",
                self.inverter.charge_power_w,
            ),
        ):
            if power_w > allowed_w:
                yield f"{key} = {power_w}: allowed: at most {allowed_w}, as {limit} says"
        rated, given = set(map(str, self.ratings.frequencies_hz)), set(self.inverter.ride_through.frequency)
        if rated != given:
            yield (
                f"inverter.ride_through.frequency is given for {', '.join(sorted(given)) or 'none'}; "
                f"allowed: {', '.join(sorted(rated))}, as ratings.frequencies_hz says"
            )

    def _limits_in_another_unit(self) -> Iterator[str]:
        """Promises that nothing would break: hours for seconds, per cent for shares, ten ratings for none.

        The bounds are ours, and wide: what is beyond them is off by the factor between two units.
        """
        ratings, inverter, infinite = self.ratings, self.inverter, math.inf
        rated_w = ratings.discharge_power_w
        for key, lowest, highest, why in (
            ("rte_ac_min", 0.3, 1.0, "since no storage is bought that loses more"),
            ("rte_dc_min", 0.3, 1.0, "since no storage is bought that loses more"),
            ("capacity_min_ah", 0.5 * ratings.capacity_ah, infinite, "half of ratings.capacity_ah"),
            ("energy_min_wh", 0.5 * ratings.energy_wh, infinite, "half of ratings.energy_wh"),
            ("bms_loss_stop_max_s", 0.0, 10.0 * inverter.bms_timeout_s, "ten times inverter.bms_timeout_s"),
            ("response_time_max_s", 0.0, 60.0, "a minute"),
            ("transfer_time_max_s", 0.0, 1.0, "a second, at which nothing is uninterrupted any more"),
            ("retransfer_time_max_s", 0.0, 1.0, "a second, at which nothing is uninterrupted any more"),
            ("power_deadband_w", 0.0, 0.1 * rated_w, "a tenth of ratings.discharge_power_w"),
            ("load_voltage_min_pu", 0.5, 1.0, "half of the nominal voltage"),
            ("load_voltage_max_pu", 1.0, 1.5, "half more than the nominal voltage"),
            ("load_frequency_tolerance_hz", 0.0, 5.0, "a tenth of 50 Hz"),
        ):
            value = getattr(self.limits, key)
            if not lowest <= value <= highest:
                bound = f"at least {lowest:g}" if value < lowest else f"at most {highest:g}"
                yield f"limits.{key} = {value}: allowed: {bound}, {why}; is it in another unit?"

    def frequency_trips(self, f0_hz: float) -> FrequencyTrips:
        """Frequency protections at a nominal frequency.

        Raises:
            ConfigurationError: the product is not made for it.
        """
        key: Literal["50", "60"] = "50" if f0_hz == 50.0 else "60"
        if f0_hz not in self.ratings.frequencies_hz:
            allowed = ", ".join(map(str, sorted(self.ratings.frequencies_hz)))
            raise ConfigurationError(
                f"product {self.name!r}: no settings for {f0_hz:g} Hz; allowed: {allowed}"
            )
        return self.inverter.ride_through.frequency[key]

    def numbers(self, f0_hz: float | None = None) -> dict[str, float]:
        """Every number of the file by its dotted key, as requirements name them (``limits.rte_ac_min``).

        What profile and windows say is there as a limit too, so that no number stands in the file twice.

        Args:
            f0_hz: nominal frequency; without it there are no limits of the frequency.
        """
        tolerance_hz = self.limits.load_frequency_tolerance_hz
        of_frequency = (
            {}
            if f0_hz is None
            else {
                "limits.load_frequency_min_hz": f0_hz - tolerance_hz,
                "limits.load_frequency_max_hz": f0_hz + tolerance_hz,
            }
        )
        return (
            numbers(self.model_dump())
            | of_frequency
            | {
                "limits.charge_voltage_v": self.charge_profile.constant_voltage_v,
                "limits.charge_current_a": self.charge_profile.constant_current_a,
                "limits.taper_current_a": self.charge_profile.taper_current_a,
                "limits.charge_current_max_a": -self.windows.current_a[0],
                "limits.discharge_current_max_a": self.windows.current_a[1],
                "limits.battery_voltage_min_v": self.windows.voltage_v[0],
                "limits.battery_voltage_max_v": self.windows.voltage_v[1],
                "limits.battery_temperature_min_degc": self.windows.discharge_temperature_degc[0],
                "limits.battery_temperature_max_degc": self.windows.discharge_temperature_degc[1],
            }
        )

    def summary(self) -> dict[str, Any]:
        """Everything for the record, as JSON would hold it."""
        return self.model_dump(mode="json", exclude_none=True)
