"""What a battery management system is made of, as data: limits, sensors, contactors, fuse, insulation.

Every number is in SI units with the unit in its name. Positive current flows out of the battery.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

Curve = tuple[tuple[float, float], ...]
"""Points, the first number rising."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContactorSpec:
    """One contactor of the string.

    Defaults are those of TE Connectivity's EVC 250 main contactor (V23720-A0001-A001): 25 ms at most to
    operate and to release, and three points of its limiting break current. A feedback that is wrong is a
    fault after 100 ms, as in foxBMS 2 (its 20 events before that are not counted here).

    Attributes:
        close_delay_s: from the command to closed contacts.
        open_delay_s: from the command to open contacts.
        feedback_delay_s: for how long the auxiliary contact may disagree with the command beyond that.
        breaks: (current, how often it can be broken), straight between on logarithmic scales. Breaking
            below the first current costs nothing, above the last it welds.
    """

    close_delay_s: float = 0.025
    open_delay_s: float = 0.025
    feedback_delay_s: float = 0.1
    breaks: Curve = ((100.0, 50_000.0), (200.0, 5_000.0), (2_000.0, 1.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class PrechargeSpec:
    """How the DC link is charged before the main contactor closes, and discharged after it opens.

    Longest time and number of tries are those of foxBMS 2 (2.0 s, three tries). Shortest time, pause and
    discharge resistor are ours: an intact link of 0.1 s time constant needs 0.3 s, the resistor has to cool
    for as long as it worked, and the link is at a hundredth in 4.6 s.

    Attributes:
        resistance_ohm: of the precharge resistor.
        link_capacitance_f: of the DC link.
        done_fraction: of the string's voltage, at which the main contactor closes.
        shortest_s: a link that is charged sooner is not there, or not through its resistor.
        longest_s: a link that is not charged by then is shorted, or its resistor is open.
        tries: until it gives up.
        pause_s: between two tries.
        discharge_resistance_ohm: across the link, switched in by auxiliary contacts while neither main nor
            precharge contactor of the positive side is closed.
    """

    resistance_ohm: float = 10.0
    link_capacitance_f: float = 0.01
    done_fraction: float = 0.95
    shortest_s: float = 0.1
    longest_s: float = 2.0
    tries: int = 3
    pause_s: float = 2.0
    discharge_resistance_ohm: float = 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class FuseSpec:
    """The fuse of a string; a rack has one in each.

    The default lies inside the gates of IEC 60269-1 for a gG fuse of 400 A, from memory: 640 A melts it
    within 3 h, 1420 A not within 10 s, 2840 A within 5 s, 4500 A not within 0.1 s, 8060 A within 0.1 s. The
    points between the gates are ours. At 600 s it is as warm as its body, for which that is a usual time
    constant; ours.

    Attributes:
        melting: (current, time until it melts from cold), straight between on logarithmic scales; no melting
            below the first, constant current squared by time beyond the last.
        cooling_s: time constant with which a fuse that was not melted forgets.
    """

    melting: Curve = ((640.0, 10_800.0), (2_000.0, 5.0), (6_000.0, 0.1))
    cooling_s: float = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class InsulationMonitorSpec:
    """An insulation monitoring device (IEC 61557-8).

    Both levels are those of foxBMS 2. Ten seconds for a fault of half the response value, and 15 % of
    error, are what IEC 61557-8 allows in a direct-current system, from memory; recovery at 1.25 times the
    level is a usual setting, from memory.

    Attributes:
        warning_ohm: less than this warns.
        alarm_ohm: less than this is an alarm.
        response_s: from a fault of half of ``alarm_ohm`` on sound insulation to the alarm.
        relative_error: of the measured resistance, a fraction.
        recovery_factor: of either level, above which it is over.
        opens: whether the alarm opens the contactors; a first fault need not (unearthed system).
    """

    warning_ohm: float = 750_000.0
    alarm_ohm: float = 500_000.0
    response_s: float = 10.0
    relative_error: float = 0.0
    recovery_factor: float = 1.25
    opens: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class InsulationSpec:
    """Insulation between the string and earth; 10 MOhm a pole is ours, ten times the usual limit of new.

    Attributes:
        plus_ohm: from the positive pole to earth.
        minus_ohm: from the negative pole to earth.
        monitor: what measures it; None: nothing does.
    """

    plus_ohm: float = 10e6
    minus_ohm: float = 10e6
    monitor: InsulationMonitorSpec | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SensorSpec:
    """One measuring channel: reading = truth (1 + gain error) + offset + noise.

    Attributes:
        gain_error: a fraction.
        offset: in the unit of the quantity.
        noise: standard deviation, in the unit of the quantity.
        span: lowest and highest that it can show; beyond it is out of range.
        open_value: what an open wire reads as.
    """

    gain_error: float = 0.0
    offset: float = 0.0
    noise: float = 0.0
    span: tuple[float, float] = (-math.inf, math.inf)
    open_value: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PlausibilitySpec:
    """When measurements contradict each other; all numbers are ours.

    Attributes:
        cell_sum_fraction: of the charge voltage limit, by which the sum of the cells may differ from the
            string's voltage: several times the errors of both, and the drop over the connections.
        current_a: by which two current sensors may differ.
        delay_s: for how long they must.
    """

    cell_sum_fraction: float = 0.02
    current_a: float = 5.0
    delay_s: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class StripSpec:
    """The full discharge to 0 V of a chemistry that needs one, and the charge back into the window.

    Attributes:
        discharge_current_a: largest discharge current meanwhile, and of its own load; a positive number.
        end_voltage_v: string voltage at which it is done: what the battery says that it may be discharged to.
        needs_permission: whether it is refused without permission.
        load_ohm: own load that empties the string while the contactors are open: ``discharge_current_a``, and
            less where the string's voltage does not give it through this resistance.
        refill_current_a: largest charge current until all cells are back in their window, a positive number;
            ours: a twentieth of 300 Ah an hour, half of the tenth that chargers commonly give to cells below
            their window (from memory).
        refill_timeout_s: after which a lowest cell that has not risen by the hysteresis of voltages raises
            the alarm. Ours: at a fifth of the refill current, as in the cold, it rises by 20 mV in four
            minutes.
        least_cell_v: lowest cell voltage that is believed in a strip and a refill. Ours: cells whose states
            of charge differ by 1 % of capacity part by 0.35 V where zinc runs out, and the weakest is driven
            below 0 V by the others.
    """

    discharge_current_a: float
    end_voltage_v: float = 0.5
    needs_permission: bool = True
    load_ohm: float = 0.1
    refill_current_a: float = 15.0
    refill_timeout_s: float = 1_800.0
    least_cell_v: float = -0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class HydrogenSpec:
    """Hydrogen in the enclosure, and the three levels of its detector.

    The alarm is a quarter of the lower explosive limit of 4 %, from memory; warning and limit are ours.

    Attributes:
        volume_m3: of air.
        airflow_m3_per_h: with its fan.
        natural_fraction: of that, without.
        warning: more than this share warns.
        limit: more than this forbids charging.
        alarm: more than this opens.
        hysteresis: by which it must be back.
    """

    volume_m3: float
    airflow_m3_per_h: float
    natural_fraction: float = 0.1
    warning: float = 0.004
    limit: float = 0.008
    alarm: float = 0.01
    hysteresis: float = 0.001


@dataclass(frozen=True, kw_only=True, slots=True)
class BalancingSpec:
    """When bleed resistors discharge the highest cells; all numbers are ours.

    Attributes:
        start_spread_v: between highest and lowest cell, beyond which it begins.
        stop_spread_v: what is above the lowest cell by more than this is bled; less, and it ends.
        from_cell_v: lower cells are not bled: where the open-circuit voltage is flat it tells nothing.
        rest_current_a: less than this, either direction, is rest.
        while_charging: whether it balances then.
        while_resting: whether it balances then.
        interval_s: between two decisions, at multiples of it.
        warning_spread_v: between highest and lowest cell, beyond which it warns.
    """

    start_spread_v: float = 0.010
    stop_spread_v: float = 0.005
    from_cell_v: float = 0.0
    rest_current_a: float = 1.0
    while_charging: bool = True
    while_resting: bool = True
    interval_s: float = 60.0
    warning_spread_v: float = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class BmsSpec:
    """Limits, sensors and contactors of a battery management system.

    Three levels, as foxBMS 2 has them (its MOL, RSL and MSL): beyond ``*_warning`` it warns at once; beyond
    ``*_limit`` for ``limit_delay_s`` the direction that makes it worse is forbidden until the value has been
    back by its hysteresis for ``limit_recovery_s``; beyond ``*_alarm`` for ``alarm_delay_s`` it raises the
    alarm and opens the contactors. Alarms latch until the contactors are told to close.

    The defaults are ours: a 48 V string of 16 cells of LFP with its 200 A, wide enough for a test to need few
    of its own. Below 0 degC it does nothing, since LFP plates lithium when it is charged there. A product's
    levels are its file's.

    Attributes:
        charge_voltage_limit_v: string voltage that it asks a charger to hold.
        discharge_voltage_limit_v: string voltage below which it asks to stop.
        charge_current_limit_a: largest charge current, a positive number; of all strings together.
        discharge_current_limit_a: largest discharge current, a positive number; of all strings together.
        cell_over_voltage_warning_v: highest cell above this warns.
        cell_over_voltage_limit_v: highest cell above this forbids charging; infinite: no such level.
        cell_over_voltage_alarm_v: highest cell above this opens.
        cell_under_voltage_warning_v: lowest cell below this warns.
        cell_under_voltage_limit_v: lowest cell below this forbids discharging; infinite: no such level.
        cell_under_voltage_alarm_v: lowest cell below this opens.
        over_current_warning_factor: of the rated current limit, either direction; of a rack, and of each
            string with its part of the limit.
        over_current_limit_factor: of the rated current limit; forbids the direction.
        over_current_alarm_factor: of the rated current limit, either direction.
        over_temperature_warning_degc: hottest cell above this warns.
        over_temperature_limit_degc: hottest cell above this forbids both directions.
        over_temperature_alarm_degc: hottest cell above this opens.
        under_temperature_warning_degc: coldest cell below this warns.
        under_temperature_limit_degc: coldest cell below this forbids both directions.
        under_temperature_alarm_degc: coldest cell below this opens.
        voltage_hysteresis_v: by which a cell must be back.
        current_hysteresis_factor: by which a current must be back, of the rated current limit.
        temperature_hysteresis_k: by which a temperature must be back.
        limit_delay_s: from beyond the limit level to the forbidden direction.
        limit_recovery_s: for how long it must be back before the direction is allowed again.
        alarm_delay_s: from beyond the alarm level to the command to open.
        charge_taper: (state of charge, fraction of the charge current limit), linear between.
        discharge_taper: (state of charge, fraction of the discharge current limit), linear between.
        temperature_derating: (degC, fraction of both current limits), linear between.
        charge_stop_cell_v: highest cell at this while charging ends the charge.
        discharge_stop_cell_v: lowest cell at this while discharging ends the discharge.
        full_current_a: charge current below this at the charge voltage limit counts as full.
        full_delay_s: for how long it must.
        restart_soc_step: state of charge to move away from an end before that direction is allowed again.
        resets_soc_at_full: whether full sets its estimate to 1.
        resets_soc_at_empty: whether the end of a discharge sets its estimate to 0.
        assumed_coulombic_efficiency: that its coulomb counting reckons with while charging.
        soc_error: of its estimate at time zero, estimate minus truth.
        current_gain_error: of its current sensor, a fraction.
        current_offset_a: of its current sensor.
        current_noise_a: standard deviation of its current reading.
        voltage_gain_error: of its voltage sensor, a fraction.
        voltage_offset_v: of its voltage sensor.
        voltage_noise_v: standard deviation of its string voltage reading.
        cell_voltage_error_v: standard deviation of the offsets of the cell voltage channels.
        cell_voltage_span_v: lowest and highest cell voltage that is believed, in normal operation.
        temperature_error_k: standard deviation of the offsets of the temperature sensors.
        temperature_span_degc: lowest and highest temperature that is believed.
        temperature_noise_k: standard deviation of its temperature reading.
        second_current_sensor: where there is one, to compare with the first.
        plausibility: when measurements contradict each other.
        sample_interval_s: interval of its measurements; noise is drawn once an interval.
        closes_on_start: whether it runs its precharge and closes at time zero.
        contactor: each of the three.
        precharge: of the DC link.
        fuse: of each string; None: none.
        string_window_fraction: of the charge voltage limit, by which a string may be off the node's voltage
            when it is closed onto it; ours, since foxBMS 2's 3 V are for strings of hundreds of volts: at
            16 cells they let some 280 A flow between two strings of 100 A, and half a per cent some 26 A.
        string_window_current_a: mean current of the closed strings, up to which another may be closed; 20 A
            in foxBMS 2.
        insulation: between string and earth, and what monitors it.
        strip: of chemistries that need one; None refuses it.
        balancing: of strings with bleed resistors; None: none.
        hydrogen: of chemistries that make it, in their enclosure; None: nobody looks.
    """

    charge_voltage_limit_v: float = 56.0
    discharge_voltage_limit_v: float = 44.8
    charge_current_limit_a: float = 200.0
    discharge_current_limit_a: float = 220.0
    cell_over_voltage_warning_v: float = 3.60
    cell_over_voltage_limit_v: float = math.inf
    cell_over_voltage_alarm_v: float = 3.65
    cell_under_voltage_warning_v: float = 2.70
    cell_under_voltage_limit_v: float = -math.inf
    cell_under_voltage_alarm_v: float = 2.50
    over_current_warning_factor: float = 1.05
    over_current_limit_factor: float = math.inf
    over_current_alarm_factor: float = 1.20
    over_temperature_warning_degc: float = 50.0
    over_temperature_limit_degc: float = math.inf
    over_temperature_alarm_degc: float = 58.0
    under_temperature_warning_degc: float = 2.0
    under_temperature_limit_degc: float = 0.0
    under_temperature_alarm_degc: float = -20.0
    voltage_hysteresis_v: float = 0.02
    current_hysteresis_factor: float = 0.02
    temperature_hysteresis_k: float = 2.0
    limit_delay_s: float = 0.5
    limit_recovery_s: float = 5.0
    alarm_delay_s: float = 0.2
    charge_taper: Curve = ((0.0, 1.0), (0.95, 1.0), (1.0, 0.1))
    discharge_taper: Curve = ((0.0, 0.2), (0.05, 1.0), (1.0, 1.0))
    temperature_derating: Curve = ((0.0, 0.2), (10.0, 1.0), (45.0, 1.0), (55.0, 0.2))
    charge_stop_cell_v: float = 3.58
    discharge_stop_cell_v: float = 2.80
    full_current_a: float = 10.0
    full_delay_s: float = 10.0
    restart_soc_step: float = 0.02
    resets_soc_at_full: bool = True
    resets_soc_at_empty: bool = False
    assumed_coulombic_efficiency: float = 1.0
    soc_error: float = 0.0
    current_gain_error: float = 0.001
    current_offset_a: float = 0.02
    current_noise_a: float = 0.02
    voltage_gain_error: float = 0.0002
    voltage_offset_v: float = 0.0
    voltage_noise_v: float = 0.002
    cell_voltage_error_v: float = 0.0
    cell_voltage_span_v: tuple[float, float] = (0.2, 5.0)
    temperature_error_k: float = 0.0
    temperature_span_degc: tuple[float, float] = (-45.0, 120.0)
    temperature_noise_k: float = 0.05
    second_current_sensor: SensorSpec | None = None
    plausibility: PlausibilitySpec = field(default_factory=PlausibilitySpec)
    sample_interval_s: float = 0.1
    closes_on_start: bool = True
    contactor: ContactorSpec = field(default_factory=ContactorSpec)
    precharge: PrechargeSpec = field(default_factory=PrechargeSpec)
    fuse: FuseSpec | None = field(default_factory=FuseSpec)
    string_window_fraction: float = 0.005
    string_window_current_a: float = 20.0
    insulation: InsulationSpec = field(default_factory=InsulationSpec)
    strip: StripSpec | None = None
    balancing: BalancingSpec | None = None
    hydrogen: HydrogenSpec | None = None
