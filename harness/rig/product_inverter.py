"""The converter of a product file: losses, protections, grid support, coming back, islands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from harness.rig.toml_file import Fraction, Name, NonNegative, Part, Positive, Window, rises

if TYPE_CHECKING:
    from harness.plant.grid_support import GridSupportSpec, ReactiveFunction


class Losses(Part):
    """Losses of the converter, as a map over AC power and DC voltage; straight between its points.

    Attributes:
        power_w: AC powers out of the converter, rising, zero among them.
        dc_voltage_v: DC voltages, rising.
        loss_w: for each voltage the losses at each power.
    """

    power_w: Annotated[tuple[float, ...], Field(min_length=2)]
    dc_voltage_v: Annotated[tuple[Positive, ...], Field(min_length=1)]
    loss_w: tuple[tuple[NonNegative, ...], ...]

    @model_validator(mode="after")
    def _is_a_map(self) -> Losses:
        from harness.plant.efficiency import LossMap  # noqa: PLC0415 - the plant's package loads numpy

        LossMap(self.power_w, self.dc_voltage_v, self.loss_w)
        return self


class VoltageTrip(Part):
    """A voltage protection.

    Attributes:
        name: word of the alarm.
        threshold_pu: of the nominal line-to-neutral voltage.
        clearing_s: from crossing the threshold until it has ceased to energise.
    """

    name: Name
    threshold_pu: Positive
    clearing_s: Positive


class FrequencyTrip(Part):
    """A frequency protection.

    Attributes:
        name: word of the alarm.
        threshold_hz: limit of the frequency.
        clearing_s: from crossing the threshold until it has ceased to energise.
    """

    name: Name
    threshold_hz: Positive
    clearing_s: Positive


class FrequencyTrips(Part):
    """Frequency protections at one nominal frequency."""

    over: tuple[FrequencyTrip, ...]
    under: tuple[FrequencyTrip, ...]


class Band(Part):
    """What the converter does while the voltage lies in a band.

    Attributes:
        low_pu: lower edge.
        high_pu: upper edge.
        mode: what it does, in the words of IEEE 1547-2018, 6.4.2.
        response_s: in the band until the gates block, for modes that block.
        recovery_s: from the end of blocking until full power.
        blocks_when_permitted: whether it blocks in permissive operation, which leaves it the choice.
    """

    low_pu: NonNegative
    high_pu: Positive
    mode: Literal[
        "continuous operation",
        "mandatory operation",
        "permissive operation",
        "momentary cessation",
        "cease to energize",
    ]
    response_s: NonNegative = 0.01
    recovery_s: NonNegative = 0.3
    blocks_when_permitted: bool = False


class Rocof(Part):
    """A relay on the rate of change of frequency.

    Attributes:
        threshold_hz_per_s: either sign.
        window_s: of each of the two means whose difference it takes.
        hold_s: beyond the threshold until it trips.
    """

    threshold_hz_per_s: Positive
    window_s: Positive = 0.1
    hold_s: NonNegative = 0.3


class RideThrough(Part):
    """How the converter behaves at abnormal voltage and frequency.

    Attributes:
        category: abnormal operating performance category of IEEE 1547-2018 that it claims.
        under_voltage: trips below.
        over_voltage: trips above.
        frequency: trips by nominal frequency, ``50`` and ``60``.
        bands: behaviour by voltage; where none fits it operates continuously.
        voltage_window_cycles: of the mean that voltage trips look at; zero: the instant.
        frequency_window_cycles: of the mean that frequency trips and droop look at; zero: the instant.
        trips_when_permitted: whether it trips as soon as its category lets it.
        rocof: relay on the rate of change of frequency; none: it rides through any.
        phase_jump_trip_deg: jump of the angle that it cannot follow; none: it follows any.
    """

    category: Literal["I", "II", "III"]
    under_voltage: Annotated[tuple[VoltageTrip, ...], Field(min_length=1)]
    over_voltage: Annotated[tuple[VoltageTrip, ...], Field(min_length=1)]
    frequency: dict[Literal["50", "60"], FrequencyTrips]
    bands: tuple[Band, ...]
    voltage_window_cycles: NonNegative = 0.0
    frequency_window_cycles: NonNegative = 0.0
    trips_when_permitted: bool = False
    rocof: Rocof | None = None
    phase_jump_trip_deg: Positive | None = None

    @model_validator(mode="after")
    def _protects(self) -> RideThrough:
        mistakes = list(self._wrong_sides())
        for f0, trips in self.frequency.items():
            names = [each.name for each in (*self.under_voltage, *self.over_voltage)]
            names += [each.name for each in (*trips.under, *trips.over)]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                mistakes.append(f"at {f0} Hz two trips are called {', '.join(twice)}; allowed: a name each")
        if mistakes:
            raise ValueError("\n".join(dict.fromkeys(mistakes)))
        return self

    def _wrong_sides(self) -> Iterator[str]:
        """Trips that would trip at the nominal value."""
        for key, of_voltage in (("under_voltage", self.under_voltage), ("over_voltage", self.over_voltage)):
            for trip in of_voltage:
                where, is_over = f"{key}: {trip.name}: threshold_pu", key == "over_voltage"
                yield from _wrong_side(where, trip.threshold_pu, 1.0, is_over=is_over)
        for f0, both in self.frequency.items():
            for key, of_frequency in (("under", both.under), ("over", both.over)):
                for each in of_frequency:
                    where, is_over = f"frequency.{f0}.{key}: {each.name}: threshold_hz", key == "over"
                    yield from _wrong_side(where, each.threshold_hz, float(f0), is_over=is_over)


def _wrong_side(where: str, threshold: float, nominal: float, *, is_over: bool) -> Iterator[str]:
    if (threshold <= nominal) if is_over else (threshold >= nominal):
        yield f"{where} = {threshold}: allowed: {'above' if is_over else 'below'} {nominal:g}"


class Island(Part):
    """What happens when the grid is lost and comes back.

    Attributes:
        is_possible: whether the converter carries the critical load without a grid.
        transfer_gap_s: from the opening of the grid until it has formed the voltage, detection included.
        transfer_below_pu: grid voltage below which it leaves a grid that is still there; until then its load
            has what is left of that voltage.
        transfer_after_s: for how long it must be below.
        overload_s: beyond the apparent power rating in an island until it trips; and of a surplus that the
            highest frequency does not take away.
        synchronise_s: of the slip that brings the island in phase with the grid; at half a turn the island is
            1 / (2 synchronise_s) off its frequency.
        return_gap_s: dead time of the load on the way back; zero: the switch makes before it breaks.
        shift_hz_per_s: how fast the island's frequency rises at a surplus of the apparent power rating, for
            solar arrays to give less; the default is the plant's own, whose reason stands at its
            ``ConverterSpec``.
        most_shift_hz: by which it rises at most; zero: it does not.
    """

    is_possible: bool
    transfer_gap_s: NonNegative
    transfer_below_pu: Fraction
    transfer_after_s: Positive
    overload_s: Positive
    synchronise_s: Positive
    return_gap_s: NonNegative = 0.0
    shift_hz_per_s: Positive = 1.4
    most_shift_hz: NonNegative = 1.5


class EnterService(Part):
    """When the grid counts as good, and for how long it must.

    Attributes:
        voltage_pu: window of the voltage.
        frequency_deviation_hz: window of the frequency less the nominal one.
        delay_s: of good grid before it comes back after a trip, or from an island.
        random_delay_s: most that is drawn on top of it.
        ramp_s: from no active power to the rating.
    """

    voltage_pu: Window
    frequency_deviation_hz: Window
    delay_s: NonNegative
    random_delay_s: NonNegative = 0.0
    ramp_s: NonNegative = 0.0


Points = Annotated[tuple[tuple[float, float], ...], Field(min_length=2), AfterValidator(rises)]
"""Points of a curve, the first quantity rising; straight between, flat beyond."""


class ReactiveCurve(Part):
    """Reactive power by voltage or by active power.

    Attributes:
        points: (voltage in pu, or active power over its rating; reactive power over apparent power).
        response_s: open-loop response time, 90 % of a step.
    """

    points: Points
    response_s: Positive


class PowerFactor(Part):
    """Reactive power in proportion to active power.

    Attributes:
        power_factor: its size.
        injects: whether reactive power is injected (over-excited); else absorbed.
    """

    power_factor: Annotated[float, Field(gt=0.0, le=1.0)]
    injects: bool


class LimitCurve(Part):
    """Limit of active power by voltage.

    Attributes:
        points: (voltage in pu, active power over the discharge rating).
        response_s: open-loop response time, 90 % of a step.
    """

    points: Points
    response_s: Positive


class Droop(Part):
    """Active power by frequency.

    Attributes:
        over_dead_band_hz: above nominal frequency.
        under_dead_band_hz: below, a positive number.
        over_droop: relative change of frequency for the whole rating, above nominal.
        under_droop: the same below.
        response_s: open-loop response time, 90 % of a step.
    """

    over_dead_band_hz: NonNegative
    under_dead_band_hz: NonNegative
    over_droop: Positive
    under_droop: Positive
    response_s: Positive


class GridSupport(Part):
    """Functions that are on when the product is delivered, and what gives way.

    Attributes:
        category: normal performance category of IEEE 1547-2018 that it claims; its ranges then hold. None:
            ranges are the maker's own.
        priority: which power stays where both together are too much.
        most_injected_pu: reactive power over apparent power.
        most_absorbed_pu: the same, a positive number.
        volt_var: at most one of the three reactive functions is on.
        watt_var: the same.
        power_factor: the same.
        volt_watt: none: off.
        droop: none: off.
    """

    category: Literal["A", "B"] | None = None
    priority: Literal["active", "reactive"] = "active"
    most_injected_pu: Fraction = 1.0
    most_absorbed_pu: Fraction = 1.0
    volt_var: ReactiveCurve | None = None
    watt_var: ReactiveCurve | None = None
    power_factor: PowerFactor | None = None
    volt_watt: LimitCurve | None = None
    droop: Droop | None = None

    @model_validator(mode="after")
    def _is_one(self) -> GridSupport:
        on = [name for name in ("volt_var", "watt_var", "power_factor") if getattr(self, name) is not None]
        if len(on) > 1:
            raise ValueError(
                f"{', '.join(on)} are on together; allowed: one reactive function (IEEE 1547-2018, 5.3.1)"
            )
        return self

    def spec(self) -> GridSupportSpec:
        """Say it in the plant's words."""
        from harness.plant import grid_support as plant  # noqa: PLC0415 - the plant's package loads numpy

        reactive: ReactiveFunction | None = None
        if self.volt_var is not None:
            reactive = plant.VoltVar(curve=self.volt_var.points, response_s=self.volt_var.response_s)
        elif self.watt_var is not None:
            reactive = plant.WattVar(curve=self.watt_var.points, response_s=self.watt_var.response_s)
        elif self.power_factor is not None:
            reactive = plant.ConstantPowerFactor(**self.power_factor.model_dump())
        limit = self.volt_watt
        return plant.GridSupportSpec(
            reactive=reactive,
            volt_watt=plant.VoltWatt(curve=limit.points, response_s=limit.response_s) if limit else None,
            droop=plant.FrequencyDroop(**self.droop.model_dump()) if self.droop else None,
            priority=plant.Priority(self.priority),
            most_injected_pu=self.most_injected_pu,
            most_absorbed_pu=self.most_absorbed_pu,
        )


class AntiIslanding(Part):
    """The Sandia frequency shift.

    Attributes:
        chopping: part of the cycle that is cut at nominal frequency.
        gain_per_hz: by how much it grows with the deviation.
        most_deg: largest lead of the current.
    """

    chopping: Fraction = 0.005
    gain_per_hz: NonNegative = 0.1
    most_deg: Positive = 10.0


class Inverter(Part):
    """The converter (PCS).

    Attributes:
        charge_power_w: most active power into its AC terminals, as a positive number.
        dc_voltage_v: window of its DC terminals.
        dc_current_max_a: either direction.
        ac_current_limit_pu: largest phase current over the rated one.
        ramp_w_per_s: of the active power set-point.
        ramp_var_per_s: of the reactive power set-point.
        fast_ramp_w_per_s: of the way to zero after the battery fell silent.
        response_s: open-loop response to its ramped set-point, 90 % of a step (IEEE 1547-2018).
        start_delay_s: from turning on, with good grid, to the first current.
        bms_timeout_s: silence of the battery after which it goes to zero power.
        losses: of the conversion.
        ride_through: behaviour at abnormal voltage and frequency.
        enter_service: coming back.
        island: loss and return of the grid.
        grid_support: functions of voltage and frequency.
        anti_islanding: active detection; none: off.
    """

    charge_power_w: Positive
    dc_voltage_v: Window
    dc_current_max_a: Positive
    ac_current_limit_pu: Positive
    ramp_w_per_s: Positive
    ramp_var_per_s: Positive
    fast_ramp_w_per_s: Positive
    response_s: Positive
    start_delay_s: NonNegative
    bms_timeout_s: Positive
    losses: Losses
    ride_through: RideThrough
    enter_service: EnterService
    island: Island
    grid_support: GridSupport = GridSupport()
    anti_islanding: AntiIslanding | None = None

    @model_validator(mode="after")
    def _keeps_its_category(self) -> Inverter:
        category = self.grid_support.category
        if category is not None:
            found = self.grid_support.spec().mistakes(category, self.ride_through.category)
            if found:
                claim = f"as category {category}, {self.ride_through.category} of IEEE 1547-2018 says"
                raise ValueError("\n".join(f"grid_support.{mistake}, {claim}" for mistake in found))
        return self
