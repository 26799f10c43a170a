"""From product and rig to the plant that their emulators share: names change, numbers do not."""

from __future__ import annotations

from dataclasses import replace

from harness.errors import ConfigurationError
from harness.plant.anti_islanding import SandiaShift
from harness.plant.bms_spec import (
    BalancingSpec,
    BmsSpec,
    ContactorSpec,
    FuseSpec,
    HydrogenSpec,
    InsulationMonitorSpec,
    InsulationSpec,
    PlausibilitySpec,
    PrechargeSpec,
    SensorSpec,
    StripSpec,
)
from harness.plant.chemistries import load
from harness.plant.converter_spec import ConverterSpec, EnterService
from harness.plant.efficiency import LossMap
from harness.plant.ride_through import (
    FrequencyTrip,
    RideBand,
    RideMode,
    RideThrough,
    RocofTrip,
    TripStep,
    ieee1547_duties,
)
from harness.plant.spec import (
    BatterySpec,
    CellSpread,
    GeneratorSpec,
    GridSpec,
    Harmonic,
    LoadKind,
    LoadSpec,
    PlantSpec,
    RlcSpec,
    SolarSpec,
    TransferSwitchSpec,
)
from harness.rig import product_file, product_inverter
from harness.rig.product_file import ProductFile
from harness.rig.rig_file import RigFile


def plant_spec(
    rig: RigFile, product: ProductFile, f0_hz: float, seed: int, *, is_enabled: bool = True
) -> PlantSpec:
    """Say what the plant of a rig with a product is made of.

    Args:
        rig: source or public mains, critical load and nominal voltage.
        product: battery, management system and converter.
        f0_hz: nominal frequency of this run; chooses the frequency trips.
        seed: keys every random draw of the plant.
        is_enabled: whether the battery's contactors and the source's relay stand closed at time zero.

    Cells and ambient start in the middle of the product's reference band.

    Raises:
        ConfigurationError: the product has no settings for this frequency.
    """
    lowest_degc, highest_degc = product.reference.temperature_degc
    return PlantSpec(
        battery=_battery(product),
        bms=replace(_bms(product), closes_on_start=is_enabled),
        converter=_converter(product, f0_hz),
        grid=_grid(rig, f0_hz, is_enabled=is_enabled),
        load=_load(rig, f0_hz),
        generator=_generator(rig, f0_hz),
        second_mains=_second_mains(rig, f0_hz),
        transfer_switch=_transfer_switch(rig, f0_hz),
        solar=None if rig.topology.solar is None else SolarSpec(**rig.topology.solar.model_dump()),
        ambient_degc=(lowest_degc + highest_degc) / 2.0,
        seed=seed,
    )


MAINS_OHM = (0.24, 0.15)
"""Resistance and reactance of a phase of the public mains: IEC 61000-3-3, reference impedance (from memory),
which most low-voltage supplies stay below. A balanced load sees no neutral."""


def _grid(rig: RigFile, f0_hz: float, *, is_enabled: bool) -> GridSpec:
    """Say what stands at ``grid_ac``; the public mains ask nobody whether they are enabled."""
    source = rig.topology.source
    if source is None:
        resistance_ohm, reactance_ohm = MAINS_OHM
        return GridSpec(
            nominal_voltage_v=rig.nominal_voltage_v,
            frequency_hz=f0_hz,
            source_resistance_ohm=resistance_ohm,
            source_reactance_ohm=reactance_ohm,
        )
    return GridSpec(
        nominal_voltage_v=rig.nominal_voltage_v,
        frequency_hz=f0_hz,
        source_resistance_ohm=source.r_ohm,
        source_reactance_ohm=source.x_ohm,
        starts_closed=is_enabled,
        rise_time_s=source.rise_time_s,
        sink_power_w=source.sink_power_w,
        harmonics=tuple(Harmonic(**harmonic.model_dump()) for harmonic in source.harmonics),
    )


def _load(rig: RigFile, f0_hz: float) -> LoadSpec:
    load = rig.topology.critical_load
    rlc = load.rlc
    return LoadSpec(
        kind={"resistive": LoadKind.RESISTIVE, "constant_power": LoadKind.CONSTANT_POWER}[load.kind],
        power_w=load.power_w,
        nominal_voltage_v=rig.nominal_voltage_v,
        power_factor=load.power_factor,
        is_capacitive=load.is_capacitive,
        inrush_factor=load.inrush_factor,
        inrush_time_constant_s=load.inrush_time_constant_s,
        restart_delay_s=load.restart_delay_s,
        hold_up_s=load.hold_up_s,
        rlc=None if rlc is None else RlcSpec(**rlc.model_dump(), frequency_hz=f0_hz),
    )


def _generator(rig: RigFile, f0_hz: float) -> GeneratorSpec | None:
    generator = rig.topology.generator
    if generator is None:
        return None
    return GeneratorSpec(
        **generator.model_dump(), nominal_voltage_v=rig.nominal_voltage_v, frequency_hz=f0_hz
    )


def _second_mains(rig: RigFile, f0_hz: float) -> GridSpec | None:
    mains = rig.topology.second_mains
    if mains is None:
        return None
    return GridSpec(
        nominal_voltage_v=rig.nominal_voltage_v,
        frequency_hz=f0_hz,
        source_resistance_ohm=mains.r_ohm,
        source_reactance_ohm=mains.x_ohm,
        angle_deg=mains.angle_deg,
    )


def _transfer_switch(rig: RigFile, f0_hz: float) -> TransferSwitchSpec | None:
    switch = rig.topology.transfer_switch
    if switch is None:
        return None
    usual = (
        TransferSwitchSpec.mechanical() if switch.kind == "mechanical" else TransferSwitchSpec.static(f0_hz)
    )
    given = switch.model_dump(exclude={"kind"}, exclude_none=True)
    if given.get("out_of_phase_gap_s") == 0.0:
        given["out_of_phase_gap_s"] = None
    return replace(usual, **given)


def _battery(product: ProductFile) -> BatterySpec:
    battery, modules = product.battery, product.battery.modules
    _check_rates(product)
    return BatterySpec(
        chemistry=battery.chemistry,
        cells_in_series=battery.cells_in_series,
        cells_in_parallel=battery.cells_in_parallel,
        soc=battery.initial_soc,
        soh=battery.initial_soh,
        connection_resistance_ohm=battery.connection_resistance_ohm,
        spread=CellSpread(
            capacity=battery.spread.capacity,
            resistance=battery.spread.resistance,
            soc=battery.spread.soc,
            thermal=battery.spread.thermal,
        ),
        strings=battery.strings,
        age_days=battery.age_days,
        full_cycles=battery.full_cycles,
        cells_per_module=None if modules is None else modules.cells_in_series,
        module_heat_capacity_j_per_k=0.0 if modules is None else modules.heat_capacity_j_per_k,
        module_conductance_w_per_k=0.0 if modules is None else modules.conductance_w_per_k,
        cooling_conductance_w_per_k=0.0 if modules is None else modules.cooling_w_per_k,
        bleed_resistance_ohm=battery.bleed_resistance_ohm,
    )


def _check_rates(product: ProductFile) -> None:
    """Refuse a BMS that would allow more current than the cells are made for.

    Raises:
        ConfigurationError: its limit, and what the chemistry allows.
    """
    battery, bms, cell = product.battery, product.bms, load(product.battery.chemistry).file.cell
    capacity_ah = cell.capacity_ah * battery.cells_in_parallel * battery.strings
    mistakes = [
        f"{product.name}: bms.{key}={limit_a}; allowed up to {rate * capacity_ah:g} A, "
        f"{rate:g} capacities an hour of {battery.chemistry}"
        for key, limit_a, rate in (
            ("charge_current_limit_a", bms.charge_current_limit_a, cell.charge_c_rate),
            ("discharge_current_limit_a", bms.discharge_current_limit_a, cell.discharge_c_rate),
        )
        # A thousandth for whoever rounds.
        if limit_a > 1.001 * rate * capacity_ah
    ]
    if mistakes:
        raise ConfigurationError(*mistakes)


def _bms(product: ProductFile) -> BmsSpec:
    bms = product.bms
    warnings, limits, alarms, sensors = bms.warnings, bms.limits, bms.alarms, bms.sensors
    precharge, second, strip = bms.precharge, sensors.second_current, product.strip
    return BmsSpec(
        charge_voltage_limit_v=bms.charge_voltage_limit_v,
        discharge_voltage_limit_v=bms.discharge_voltage_limit_v,
        charge_current_limit_a=bms.charge_current_limit_a,
        discharge_current_limit_a=bms.discharge_current_limit_a,
        cell_over_voltage_limit_v=limits.cell_over_voltage_v,
        cell_under_voltage_limit_v=limits.cell_under_voltage_v,
        over_current_limit_factor=limits.over_current_factor,
        over_temperature_limit_degc=limits.over_temperature_degc,
        under_temperature_limit_degc=limits.under_temperature_degc,
        voltage_hysteresis_v=bms.voltage_hysteresis_v,
        current_hysteresis_factor=bms.current_hysteresis_factor,
        temperature_hysteresis_k=bms.temperature_hysteresis_k,
        limit_delay_s=bms.limit_delay_s,
        limit_recovery_s=bms.limit_recovery_s,
        cell_over_voltage_warning_v=warnings.cell_over_voltage_v,
        cell_over_voltage_alarm_v=alarms.cell_over_voltage_v,
        cell_under_voltage_warning_v=warnings.cell_under_voltage_v,
        cell_under_voltage_alarm_v=alarms.cell_under_voltage_v,
        over_current_warning_factor=warnings.over_current_factor,
        over_current_alarm_factor=alarms.over_current_factor,
        over_temperature_warning_degc=warnings.over_temperature_degc,
        over_temperature_alarm_degc=alarms.over_temperature_degc,
        under_temperature_warning_degc=warnings.under_temperature_degc,
        under_temperature_alarm_degc=alarms.under_temperature_degc,
        alarm_delay_s=bms.alarm_delay_s,
        charge_taper=bms.charge_taper,
        discharge_taper=bms.discharge_taper,
        temperature_derating=bms.temperature_derating,
        charge_stop_cell_v=bms.charge_stop_cell_v,
        discharge_stop_cell_v=bms.discharge_stop_cell_v,
        full_current_a=bms.full_current_a,
        full_delay_s=bms.full_delay_s,
        restart_soc_step=bms.restart_soc_step,
        resets_soc_at_full=bms.resets_soc_at_full,
        assumed_coulombic_efficiency=bms.assumed_coulombic_efficiency,
        soc_error=sensors.soc_error,
        current_gain_error=sensors.current_gain_error,
        current_offset_a=sensors.current_offset_a,
        current_noise_a=sensors.current_noise_a,
        voltage_gain_error=sensors.voltage_gain_error,
        voltage_noise_v=sensors.voltage_noise_v,
        temperature_noise_k=sensors.temperature_noise_k,
        sample_interval_s=sensors.sample_interval_s,
        resets_soc_at_empty=bms.resets_soc_at_empty,
        voltage_offset_v=sensors.voltage_offset_v,
        cell_voltage_error_v=sensors.cell_voltage_error_v,
        cell_voltage_span_v=sensors.cell_voltage_span_v,
        temperature_error_k=sensors.temperature_error_k,
        temperature_span_degc=sensors.temperature_span_degc,
        second_current_sensor=None
        if second is None
        else SensorSpec(
            gain_error=second.gain_error, offset=second.offset, noise=second.noise, span=second.span
        ),
        plausibility=PlausibilitySpec(
            cell_sum_fraction=sensors.plausibility.cell_sum_fraction,
            current_a=sensors.plausibility.current_a,
            delay_s=sensors.plausibility.delay_s,
        ),
        contactor=ContactorSpec(
            close_delay_s=bms.contactor.close_delay_s,
            open_delay_s=bms.contactor.open_delay_s,
            feedback_delay_s=bms.contactor.feedback_delay_s,
            breaks=bms.contactor.breaks,
        ),
        precharge=PrechargeSpec(
            resistance_ohm=precharge.resistance_ohm,
            link_capacitance_f=precharge.link_capacitance_f,
            done_fraction=precharge.done_fraction,
            shortest_s=precharge.shortest_s,
            longest_s=precharge.longest_s,
            tries=precharge.tries,
            pause_s=precharge.pause_s,
            discharge_resistance_ohm=precharge.discharge_resistance_ohm,
        ),
        fuse=FuseSpec(melting=bms.fuse.melting, cooling_s=bms.fuse.cooling_s) if bms.fuse else None,
        string_window_fraction=bms.string_window_fraction,
        string_window_current_a=bms.string_window_current_a,
        insulation=_insulation(bms.insulation),
        strip=None
        if strip is None
        else StripSpec(
            discharge_current_a=strip.discharge_current_a,
            end_voltage_v=strip.end_voltage_v,
            needs_permission=strip.needs_permission,
            load_ohm=strip.load_ohm,
            refill_current_a=strip.refill_current_a,
            refill_timeout_s=strip.refill_timeout_s,
            least_cell_v=strip.least_cell_v,
        ),
        balancing=_balancing(bms.balancing),
        hydrogen=_hydrogen(bms.hydrogen),
    )


def _balancing(balancing: product_file.Balancing | None) -> BalancingSpec | None:
    if balancing is None:
        return None
    return BalancingSpec(
        start_spread_v=balancing.start_spread_v,
        stop_spread_v=balancing.stop_spread_v,
        from_cell_v=balancing.from_cell_v,
        rest_current_a=balancing.rest_current_a,
        while_charging=balancing.while_charging,
        while_resting=balancing.while_resting,
        interval_s=balancing.interval_s,
        warning_spread_v=balancing.warning_spread_v,
    )


def _hydrogen(hydrogen: product_file.Hydrogen | None) -> HydrogenSpec | None:
    if hydrogen is None:
        return None
    return HydrogenSpec(
        volume_m3=hydrogen.volume_m3,
        airflow_m3_per_h=hydrogen.airflow_m3_per_h,
        natural_fraction=hydrogen.natural_fraction,
        warning=hydrogen.warning,
        limit=hydrogen.limit,
        alarm=hydrogen.alarm,
        hysteresis=hydrogen.hysteresis,
    )


def _insulation(insulation: product_file.Insulation) -> InsulationSpec:
    monitor = insulation.monitor
    return InsulationSpec(
        plus_ohm=insulation.plus_ohm,
        minus_ohm=insulation.minus_ohm,
        monitor=None
        if monitor is None
        else InsulationMonitorSpec(
            warning_ohm=monitor.warning_ohm,
            alarm_ohm=monitor.alarm_ohm,
            response_s=monitor.response_s,
            relative_error=monitor.relative_error,
            recovery_factor=monitor.recovery_factor,
            opens=monitor.opens,
        ),
    )


def _converter(product: ProductFile, f0_hz: float) -> ConverterSpec:
    inverter, ratings = product.inverter, product.ratings
    island, enter, losses = inverter.island, inverter.enter_service, inverter.losses
    shift = inverter.anti_islanding
    return ConverterSpec(
        rated_power_w=ratings.discharge_power_w,
        rated_charge_power_w=inverter.charge_power_w,
        rated_apparent_power_va=ratings.apparent_power_va,
        nominal_voltage_v=ratings.ac_voltage_v,
        nominal_frequency_hz=f0_hz,
        current_limit_pu=inverter.ac_current_limit_pu,
        maximum_dc_current_a=inverter.dc_current_max_a,
        minimum_dc_voltage_v=inverter.dc_voltage_v[0],
        ramp_w_per_s=inverter.ramp_w_per_s,
        ramp_var_per_s=inverter.ramp_var_per_s,
        fast_ramp_w_per_s=inverter.fast_ramp_w_per_s,
        response_s=inverter.response_s,
        losses=LossMap(losses.power_w, losses.dc_voltage_v, losses.loss_w),
        start_delay_s=inverter.start_delay_s,
        islanding=island.is_possible,
        transfer_gap_s=island.transfer_gap_s,
        transfer_below_pu=island.transfer_below_pu,
        transfer_after_s=island.transfer_after_s,
        overload_s=island.overload_s,
        shift_hz_per_s=island.shift_hz_per_s,
        most_shift_hz=island.most_shift_hz,
        enter_service=EnterService(
            voltage_pu=enter.voltage_pu,
            frequency_hz=enter.frequency_deviation_hz,
            delay_s=enter.delay_s,
            random_delay_s=enter.random_delay_s,
            ramp_s=enter.ramp_s,
        ),
        synchronise_s=island.synchronise_s,
        return_gap_s=island.return_gap_s,
        ride_through=_ride_through(product, f0_hz),
        grid_support=inverter.grid_support.spec(),
        anti_islanding=SandiaShift(nominal_hz=f0_hz, **shift.model_dump()) if shift else None,
        bms_timeout_s=inverter.bms_timeout_s,
    )


def _ride_through(product: ProductFile, f0_hz: float) -> RideThrough:
    settings, frequency = product.inverter.ride_through, product.frequency_trips(f0_hz)
    return RideThrough(
        under_voltage=tuple(map(_voltage_trip, settings.under_voltage)),
        over_voltage=tuple(map(_voltage_trip, settings.over_voltage)),
        under_frequency=tuple(map(_frequency_trip, frequency.under)),
        over_frequency=tuple(map(_frequency_trip, frequency.over)),
        bands=tuple(
            RideBand(
                low_pu=band.low_pu,
                high_pu=band.high_pu,
                mode=RideMode(band.mode),
                response_s=band.response_s,
                recovery_s=band.recovery_s,
                blocks_when_permitted=band.blocks_when_permitted,
            )
            for band in settings.bands
        ),
        duties=ieee1547_duties(settings.category),
        trips_when_permitted=settings.trips_when_permitted,
        rocof=RocofTrip(**settings.rocof.model_dump()) if settings.rocof else None,
        phase_jump_trip_deg=settings.phase_jump_trip_deg,
        voltage_window_s=settings.voltage_window_cycles / f0_hz,
        frequency_window_s=settings.frequency_window_cycles / f0_hz,
    )


def _voltage_trip(trip: product_inverter.VoltageTrip) -> TripStep:
    return TripStep(threshold_pu=trip.threshold_pu, clearing_s=trip.clearing_s, name=trip.name)


def _frequency_trip(trip: product_inverter.FrequencyTrip) -> FrequencyTrip:
    return FrequencyTrip(threshold_hz=trip.threshold_hz, clearing_s=trip.clearing_s, name=trip.name)
