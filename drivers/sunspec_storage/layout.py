"""The register map of the emulated inverter: what stands where, and how a measurement becomes registers.

Line-to-line voltages take the phases as 120 degrees apart, and power is shared among the phases by
their apparent power. Beyond a register's range a value saturates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import compress
from operator import ne
from typing import TYPE_CHECKING

from drivers.sunspec_storage import codec, points
from drivers.sunspec_storage.options import Options
from drivers.sunspec_storage.points import Model
from harness.plant.grid_support import GridSupportSpec, Priority
from harness.roles import OperatingState

if TYPE_CHECKING:
    from harness.plant import RigPlant


_BATTERY_EVENTS: Mapping[str, str] = {
    # The plant's words to 802.Evt1, without _ALARM or _WARNING; others go out as OTHER.
    "cell_over_voltage": "OVER_VOLT",
    "cell_under_voltage": "UNDER_VOLT",
    "over_temperature": "OVER_TEMP",
    "under_temperature": "UNDER_TEMP",
    "over_current_charge": "OVER_CHARGE_CURRENT",
    "over_current_discharge": "OVER_DISCHARGE_CURRENT",
}


@dataclass(slots=True)
class Sample:
    """What the unit measured at one of its refreshes; SI, positive out of the battery. Never changed.

    What it does not know is NaN, and goes out as "not implemented". Lowest, mean and highest cell voltages
    cost as much as all the rest: None until somebody has read them.
    """

    at_s: float
    power_w: float
    reactive_power_var: float
    apparent_power_va: float
    frequency_hz: float
    voltages_v: tuple[float, float, float]
    currents_a: tuple[float, float, float]
    line_voltages_v: tuple[float, float, float]
    phase_shares: tuple[float, float, float]
    dc_voltage_v: float
    dc_current_a: float
    dc_power_w: float
    injected_j: float
    absorbed_j: float
    temperature_degc: float
    state: OperatingState
    is_on: bool
    is_grid_forming: bool
    alarms: frozenset[str]
    maker_alarms: frozenset[str]
    soc: float
    soh: float
    battery_voltage_v: float
    battery_current_a: float
    cell_voltages_v: tuple[float, float, float] | None
    charge_current_limit_a: float
    discharge_current_limit_a: float
    is_contactor_closed: bool
    battery_alarms: frozenset[str]
    battery_warnings: frozenset[str]

    @property
    def charge_code(self) -> int:
        """Code of 124.ChaSt and 802.ChaSt: 1 off to 6 holding."""
        if not self.is_contactor_closed:
            return 1
        if abs(self.battery_current_a) > 0.1:
            return 3 if self.battery_current_a > 0.0 else 4
        if self.soc <= 0.0:
            return 2
        return 5 if self.soc >= 1.0 else 6


Measure = Callable[[Sample], Mapping[str, float]]
"""Turns a sample into the numbers of one model's points, always the same ones in the same order."""


@dataclass(slots=True)
class _Telemetry:
    """A measured point: where it lies, and how a number becomes its registers."""

    first: int
    size: int
    factor: float
    lowest: int
    highest: int
    unimplemented: int


@dataclass(slots=True)
class Bank:
    """One model of the map: its registers as they stand, and what is measured in them.

    Attributes:
        start: index of the ID register in ``image``.
        image: registers of the whole map, which all banks share.
        measure: what the points show that follow the samples; nothing in most models.
        sample: what they show.
    """

    model: Model
    start: int
    image: list[int]
    measure: Measure = lambda _: {}
    telemetry: list[_Telemetry] = field(default_factory=list)
    shown: tuple[float, ...] = ()
    sample: Sample | None = None

    @property
    def end(self) -> int:
        """Index behind the last register in ``image``."""
        return self.start + self.model.size

    @property
    def address(self) -> int:
        """Address of the ID register."""
        return points.BASES[0] + self.start

    def exponent(self, name: str) -> int:
        """Power of ten of a point, 0 where it has none."""
        scale = self.model.points[name].scale
        return self.raw(scale) if scale else 0

    def raw(self, name: str) -> int:
        """A number as it lies in the registers."""
        point = self.model.points[name]
        first = self.start + point.offset
        return codec.to_int(point, self.image[first : first + point.size])

    def value(self, name: str) -> float:
        """A number in the point's unit."""
        return codec.scaled(self.raw(name), self.exponent(name))

    def put(self, **raws: int) -> None:
        """Set points to raw numbers."""
        for name, raw in raws.items():
            self._set(name, codec.from_int(self.model.points[name], raw))

    def put_values(self, **values: float) -> None:
        """Set points to numbers in their units; the scale factors must stand already."""
        for name, value in values.items():
            raw = codec.unscaled(value, self.exponent(name))
            self._set(name, codec.from_int(self.model.points[name], raw))

    def put_text(self, name: str, text: str) -> None:
        """Set a string."""
        self._set(name, codec.from_text(self.model.points[name], text))

    def _set(self, name: str, registers: list[int]) -> None:
        first = self.start + self.model.points[name].offset
        self.image[first : first + len(registers)] = registers

    def _telemetry_of(self, name: str) -> _Telemetry:
        point, kind = self.model.points[name], self.model.points[name].kind
        factor = 10.0 ** -self.exponent(name)
        first = self.start + point.offset
        return _Telemetry(first, point.size, factor, kind.lowest, kind.highest, kind.unimplemented)

    def show(self, sample: Sample) -> None:
        """Bring the measured points to a sample."""
        if self.sample is sample:
            return
        self.sample = sample
        image, measured = self.image, self.measure(sample)
        if not self.telemetry:
            self.telemetry = [self._telemetry_of(name) for name in measured]
            self.shown = (math.nan,) * len(measured)
        values = tuple(measured.values())
        # In a steady state most values stand, and their registers with them.
        has_changed = map(ne, values, self.shown)
        self.shown = values
        for index in compress(range(len(values)), has_changed):
            entry, value = self.telemetry[index], values[index]
            if math.isnan(value):
                raw = entry.unimplemented
            else:
                raw = min(max(round(value * entry.factor), entry.lowest), entry.highest)
            if entry.size == 1:
                image[entry.first] = raw & 0xFFFF
                continue
            for place in range(entry.first + entry.size - 1, entry.first - 1, -1):
                image[place] = raw & 0xFFFF
                raw >>= 16


def _empty(model: Model) -> list[int]:
    """Registers of a model in which nothing is implemented."""
    registers = [model.number, model.length]
    for point in model.points.values():
        if point.offset >= 2:
            empty = (
                [0] * point.size
                if point.type == "string"
                else codec.from_int(point, point.kind.unimplemented)
            )
            registers += empty
    return registers


def _exponent(largest: float, highest: int) -> int:
    """Finest scale factor, two decimals at most, that still holds twice the largest value expected."""
    exponent = -2
    while 2.0 * largest > highest * 10.0**exponent:
        exponent += 1
    return exponent


@cache
def _state_code(state: OperatingState) -> int:
    """Code of 701.InvSt; 103.St counts from 1 where it counts from 0 (SunSpec model_103.json)."""
    words = {state: word for word, state in points.STATES.items()}
    return points.model(701).points["InvSt"].code(words[state])


def _bits(point: str, model: int, names: frozenset[str]) -> int:
    """Number of a bit field with these names set."""
    known = points.model(model).points[point]
    return sum(1 << known.code(name) for name in names)


def alarm_words(plant: RigPlant) -> dict[str, str]:
    """The plant's alarms that 701.Alrm has bits for; others go out as the maker's own."""
    ride_through = plant.spec.converter.ride_through
    words = {"dc_lost": "DC_DISCONNECT"}
    words |= {step.name: "AC_OVER_VOLT" for step in ride_through.over_voltage}
    words |= {step.name: "AC_UNDER_VOLT" for step in ride_through.under_voltage}
    words |= {step.name: "OVER_FREQUENCY" for step in ride_through.over_frequency}
    words |= {step.name: "UNDER_FREQUENCY" for step in ride_through.under_frequency}
    return words


def _alarm_bits(sample: Sample) -> int:
    if not sample.alarms and not sample.maker_alarms:
        return 0
    own = {"MANUFACTURER_ALRM"} if sample.maker_alarms else set()
    return _bits("Alrm", 701, sample.alarms | own)


def _event_bits(sample: Sample) -> int:
    names = {f"{_BATTERY_EVENTS.get(alarm, 'OTHER')}_ALARM" for alarm in sample.battery_alarms}
    names |= {f"{_BATTERY_EVENTS.get(warning, 'OTHER')}_WARNING" for warning in sample.battery_warnings}
    return _bits("Evt1", 802, frozenset(names))


def _power_factor(sample: Sample) -> float:
    """Active over apparent power, with the sign of active power (SunSpec model_701.json)."""
    return sample.power_w / sample.apparent_power_va if sample.apparent_power_va > 1.0 else 1.0


def line_voltages_v(voltages_v: tuple[float, float, float]) -> tuple[float, float, float]:
    """Line-to-line voltages 1-2, 2-3 and 3-1 from those to neutral."""
    u1, u2, u3 = voltages_v
    return (
        math.sqrt(u1 * u1 + u2 * u2 + u1 * u2),
        math.sqrt(u2 * u2 + u3 * u3 + u2 * u3),
        math.sqrt(u3 * u3 + u1 * u1 + u3 * u1),
    )


def phase_shares(
    voltages_v: tuple[float, float, float], currents_a: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Part of apparent power in each phase."""
    (u1, u2, u3), (i1, i2, i3) = voltages_v, currents_a
    total = u1 * i1 + u2 * i2 + u3 * i3
    return (u1 * i1 / total, u2 * i2 / total, u3 * i3 / total) if total > 0.0 else (1.0 / 3.0,) * 3


def _clipped_share(value: float) -> float:
    return min(max(value, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class _Ratings:
    """What the unit's nameplate says, in SI, and the scale factors that follow from it."""

    power_w: float
    charge_w: float
    apparent_va: float
    voltage_v: float
    line_voltage_v: float
    current_a: float
    frequency_hz: float
    dc_voltage_v: float
    dc_current_a: float
    capacity_ah: float
    energy_wh: float

    @property
    def watt_sf(self) -> int:
        return _exponent(self.apparent_va, 32767)

    @property
    def volt_sf(self) -> int:
        return _exponent(self.line_voltage_v, 65534)

    @property
    def ampere_sf(self) -> int:
        return _exponent(self.current_a, 32767)

    @property
    def dc_volt_sf(self) -> int:
        return _exponent(self.dc_voltage_v, 65534)

    @property
    def dc_ampere_sf(self) -> int:
        return _exponent(self.dc_current_a, 32767)

    @property
    def energy_sf(self) -> int:
        return max(_exponent(self.energy_wh, 65534), 0)


def _ratings(plant: RigPlant, options: Options) -> _Ratings:
    spec, battery, chemistry = plant.spec.converter, plant.spec.battery, plant.string.chemistry
    capacity_ah = chemistry.capacity_ah * battery.cells_in_parallel * battery.strings
    # Mean open-circuit voltage over the whole range of charge.
    mean_v = battery.cells_in_series * math.fsum(chemistry.ocv_v(step / 100) for step in range(101)) / 101
    return _Ratings(
        power_w=spec.rated_power_w,
        charge_w=spec.rated_charge_power_w,
        apparent_va=spec.rated_apparent_power_va,
        voltage_v=spec.nominal_voltage_v,
        line_voltage_v=spec.nominal_voltage_v * math.sqrt(3.0),
        current_a=spec.rated_apparent_power_va / spec.nominal_voltage_v,
        frequency_hz=spec.nominal_frequency_hz,
        dc_voltage_v=plant.spec.bms.charge_voltage_limit_v,
        dc_current_a=spec.maximum_dc_current_a,
        capacity_ah=capacity_ah,
        energy_wh=options.energy_rating_wh or capacity_ah * mean_v,
    )


def lay_out(plant: RigPlant, options: Options) -> dict[int, Bank]:
    """Put the models one behind the other, each with what it holds at power-up; all share one image."""
    banks: dict[int, Bank] = {}
    image = list(points.MARKER)
    for number in points.MODELS:
        model = points.model(number)
        banks[number] = Bank(model, len(image), image)
        image += _empty(model)
    image += [points.END, 0]
    ratings = _ratings(plant, options)
    _fill_common(banks[1], options)
    _fill_inverter(banks[103], ratings)
    _fill_nameplate(banks[120], ratings)
    _fill_settings(banks[121], ratings)
    _fill_immediate(banks[123], is_on=plant.spec.converter.starts_on)
    _fill_storage(banks[124], ratings)
    _fill_ac(banks[701], ratings)
    _fill_capacity(banks[702], ratings)
    _fill_enter_service(banks[703], plant)
    _fill_controls(banks[704], ratings, plant.spec.converter.grid_support)
    _fill_capacity_left(banks[713], ratings)
    # At power-up nobody has stopped it, nobody has it at its own panel, and no controller was heard.
    banks[715].put(LocRemCtl=0, DERHb=0, ControllerHb=0, OpCtl=1)
    _fill_battery(banks[802], plant, ratings)
    return banks


def _fill_common(bank: Bank, options: Options) -> None:
    for name, text in (
        ("Mn", options.maker),
        ("Md", options.model),
        ("Vr", options.firmware),
        ("SN", options.serial),
    ):
        bank.put_text(name, text)
    bank.put(DA=options.unit)


def _fill_inverter(bank: Bank, ratings: _Ratings) -> None:
    bank.put(
        A_SF=ratings.ampere_sf,
        V_SF=ratings.volt_sf,
        W_SF=ratings.watt_sf,
        Hz_SF=-2,
        VA_SF=ratings.watt_sf,
        VAr_SF=ratings.watt_sf,
        PF_SF=-1,
        WH_SF=0,
        DCA_SF=ratings.dc_ampere_sf,
        DCV_SF=ratings.dc_volt_sf,
        DCW_SF=ratings.watt_sf,
        Tmp_SF=-1,
        Evt2=0,
    )
    bank.measure = lambda s: (
        {
            "A": sum(s.currents_a),
            "AphA": s.currents_a[0],
            "AphB": s.currents_a[1],
            "AphC": s.currents_a[2],
            "PPVphAB": s.line_voltages_v[0],
            "PPVphBC": s.line_voltages_v[1],
            "PPVphCA": s.line_voltages_v[2],
            "PhVphA": s.voltages_v[0],
            "PhVphB": s.voltages_v[1],
            "PhVphC": s.voltages_v[2],
            "W": s.power_w,
            "Hz": s.frequency_hz,
            "VA": s.apparent_power_va,
            "VAr": s.reactive_power_var,
            "PF": 100.0 * _power_factor(s),
            "WH": s.injected_j / 3600.0,
            "DCA": abs(s.dc_current_a),
            "DCV": s.dc_voltage_v,
            "DCW": s.dc_power_w,
            "TmpCab": s.temperature_degc,
            "TmpSnk": s.temperature_degc,
            "St": _state_code(s.state) + 1,
            "Evt1": _alarm_bits(s) & 0xFFFF,
        }
    )


def _fill_nameplate(bank: Bank, ratings: _Ratings) -> None:
    bank.put(
        DERTyp=82,
        WRtg_SF=ratings.watt_sf,
        VARtg_SF=ratings.watt_sf,
        VArRtg_SF=ratings.watt_sf,
        ARtg_SF=ratings.ampere_sf,
        PFRtg_SF=-2,
        WHRtg_SF=ratings.energy_sf,
        AhrRtg_SF=-1,
        MaxChaRte_SF=ratings.watt_sf,
        MaxDisChaRte_SF=ratings.watt_sf,
    )
    # Quadrants 1 and 2 inject reactive power, 3 and 4 absorb it.
    bank.put_values(
        WRtg=ratings.power_w,
        VARtg=ratings.apparent_va,
        VArRtgQ1=ratings.apparent_va,
        VArRtgQ2=ratings.apparent_va,
        VArRtgQ3=-ratings.apparent_va,
        VArRtgQ4=-ratings.apparent_va,
        ARtg=ratings.current_a,
        PFRtgQ1=0.0,
        PFRtgQ2=0.0,
        PFRtgQ3=0.0,
        PFRtgQ4=0.0,
        WHRtg=ratings.energy_wh,
        AhrRtg=ratings.capacity_ah,
        MaxChaRte=ratings.charge_w,
        MaxDisChaRte=ratings.power_w,
    )


def _fill_settings(bank: Bank, ratings: _Ratings) -> None:
    bank.put(WMax_SF=ratings.watt_sf, VRef_SF=-1, VRefOfs_SF=-1, ECPNomHz_SF=-2)
    bank.put_values(WMax=ratings.power_w, VRef=ratings.line_voltage_v, VRefOfs=0.0)


def _fill_immediate(bank: Bank, *, is_on: bool) -> None:
    bank.put(
        Conn=int(is_on),
        WMaxLimPct_SF=-1,
        WMaxLim_Ena=0,
        OutPFSet_SF=-2,
        OutPFSet_Ena=0,
        VArPct_Ena=0,
    )
    bank.put_values(WMaxLimPct=100.0, OutPFSet=1.0)


def _fill_storage(bank: Bank, ratings: _Ratings) -> None:
    bank.put(
        StorCtl_Mod=0,
        WChaMax_SF=ratings.watt_sf,
        WChaDisChaGra_SF=0,
        ChaState_SF=-1,
        StorAval_SF=-1,
        InBatV_SF=ratings.dc_volt_sf,
        InOutWRte_SF=-2,
    )
    bank.put_values(WChaMax=ratings.charge_w, WChaGra=100.0, WDisChaGra=100.0, OutWRte=100.0, InWRte=100.0)
    bank.measure = lambda s: (
        {
            "ChaState": 100.0 * _clipped_share(s.soc),
            "StorAval": ratings.capacity_ah * s.soh * _clipped_share(s.soc),
            "InBatV": s.battery_voltage_v,
            "ChaSt": s.charge_code,
        }
    )


def _fill_ac(bank: Bank, ratings: _Ratings) -> None:
    bank.put(
        ACType=2,
        A_SF=ratings.ampere_sf,
        V_SF=ratings.volt_sf,
        Hz_SF=-3,
        W_SF=ratings.watt_sf,
        PF_SF=-3,
        VA_SF=ratings.watt_sf,
        Var_SF=ratings.watt_sf,
        TotWh_SF=0,
        Tmp_SF=-1,
        ThrotSrc=0,
    )
    bank.measure = _measure_ac


def _measure_ac(s: Sample) -> Mapping[str, float]:
    (u1, u2, u3), (i1, i2, i3), (u12, u23, u31) = s.voltages_v, s.currents_a, s.line_voltages_v
    share1, share2, share3 = s.phase_shares
    power_factor = _power_factor(s)
    return {
        "St": s.is_on,
        "InvSt": _state_code(s.state),
        "ConnSt": s.is_on and not s.is_grid_forming,
        "Alrm": _alarm_bits(s),
        "DERMode": 2 if s.is_grid_forming else 1,
        "W": s.power_w,
        "VA": s.apparent_power_va,
        "Var": s.reactive_power_var,
        "PF": power_factor,
        "A": i1 + i2 + i3,
        "LLV": (u12 + u23 + u31) / 3.0,
        "LNV": (u1 + u2 + u3) / 3.0,
        "Hz": s.frequency_hz,
        "TotWhInj": s.injected_j / 3600.0,
        "TotWhAbs": s.absorbed_j / 3600.0,
        "TmpCab": s.temperature_degc,
        "TmpSnk": s.temperature_degc,
        "WL1": s.power_w * share1,
        "VAL1": u1 * i1,
        "VarL1": s.reactive_power_var * share1,
        "PFL1": power_factor,
        "AL1": i1,
        "VL1L2": u12,
        "VL1": u1,
        "WL2": s.power_w * share2,
        "VAL2": u2 * i2,
        "VarL2": s.reactive_power_var * share2,
        "PFL2": power_factor,
        "AL2": i2,
        "VL2L3": u23,
        "VL2": u2,
        "WL3": s.power_w * share3,
        "VAL3": u3 * i3,
        "VarL3": s.reactive_power_var * share3,
        "PFL3": power_factor,
        "AL3": i3,
        "VL3L1": u31,
        "VL3": u3,
    }


def _fill_capacity(bank: Bank, ratings: _Ratings) -> None:
    bank.put(
        W_SF=ratings.watt_sf,
        PF_SF=-2,
        VA_SF=ratings.watt_sf,
        Var_SF=ratings.watt_sf,
        V_SF=ratings.volt_sf,
        A_SF=ratings.ampere_sf,
        NorOpCatRtg=1,
        AbnOpCatRtg=1,
        CtrlModes=_bits("CtrlModes", 702, frozenset({"MAX_W", "FIXED_W", "FIXED_VAR", "FIXED_PF"})),
        IntIslandCatRtg=_bits("IntIslandCatRtg", 702, frozenset({"INT_ISL_CAPABLE"})),
    )
    # Voltages line to line, as a three-phase nameplate says them; the model leaves it open.
    bank.put_values(
        WMaxRtg=ratings.power_w,
        VAMaxRtg=ratings.apparent_va,
        VarMaxInjRtg=ratings.apparent_va,
        VarMaxAbsRtg=ratings.apparent_va,
        WChaRteMaxRtg=ratings.charge_w,
        WDisChaRteMaxRtg=ratings.power_w,
        VNomRtg=ratings.line_voltage_v,
        VMaxRtg=1.1 * ratings.line_voltage_v,
        VMinRtg=0.88 * ratings.line_voltage_v,
        AMaxRtg=ratings.current_a,
        WMax=max(ratings.power_w, ratings.charge_w),
        WChaRteMax=ratings.charge_w,
        WDisChaRteMax=ratings.power_w,
    )


def _fill_enter_service(bank: Bank, plant: RigPlant) -> None:
    spec, enter = plant.spec.converter, plant.spec.converter.enter_service
    low_pu, high_pu = enter.voltage_pu
    below_hz, above_hz = enter.frequency_hz
    bank.put(
        ES=1,
        V_SF=-1,
        Hz_SF=-2,
        ESDlyTms=round(enter.delay_s),
        ESRndTms=round(enter.random_delay_s),
        ESRmpTms=round(enter.ramp_s),
        ESDlyRemTms=0,
    )
    bank.put_values(
        ESVHi=100.0 * high_pu,
        ESVLo=100.0 * low_pu,
        ESHzHi=spec.nominal_frequency_hz + above_hz,
        ESHzLo=spec.nominal_frequency_hz + below_hz,
    )


def _fill_controls(bank: Bank, ratings: _Ratings, support: GridSupportSpec) -> None:
    # At power-up it stands under remote command, at zero.
    bank.put(
        WMaxLimPctEna=0,
        WMaxLimPctEnaRvrt=0,
        WMaxLimPctRvrtTms=0,
        WMaxLimPctRvrtRem=0,
        WMaxLimPct_SF=-1,
        WSetEna=1,
        WSetMod=1,
        WSet=0,
        WSetRvrt=0,
        WSetPct=0,
        WSetPctRvrt=0,
        WSetEnaRvrt=1,
        WSetRvrtTms=0,
        WSetRvrtRem=0,
        WSet_SF=ratings.watt_sf,
        WSetPct_SF=-1,
        VarSetEna=0,
        VarSetMod=4,
        VarSetPri=int(support.priority is Priority.REACTIVE),
        VarSet=0,
        VarSetRvrt=0,
        VarSetPct=0,
        VarSetPctRvrt=0,
        VarSetEnaRvrt=0,
        VarSetRvrtTms=0,
        VarSetRvrtRem=0,
        VarSet_SF=ratings.watt_sf,
        VarSetPct_SF=-1,
    )
    bank.put(
        PFWInjEna=0,
        PFWInjEnaRvrt=0,
        PFWInjRvrtTms=0,
        PFWInjRvrtRem=0,
        PF_SF=-3,
        **{"PFWInj.Ext": 0, "PFWInjRvrt.Ext": 0},
    )
    bank.put_values(WMaxLimPct=100.0, WMaxLimPctRvrt=100.0, **{"PFWInj.PF": 1.0, "PFWInjRvrt.PF": 1.0})


def _fill_capacity_left(bank: Bank, ratings: _Ratings) -> None:
    bank.put(WH_SF=ratings.energy_sf, Pct_SF=-1)
    bank.put_values(WHRtg=ratings.energy_wh)
    bank.measure = lambda s: (
        {
            "WHAvail": ratings.energy_wh * _clipped_share(s.soc) * s.soh,
            "SoC": 100.0 * _clipped_share(s.soc),
            "SoH": 100.0 * s.soh,
            "Sta": 2 if s.battery_alarms else 1 if s.battery_warnings else 0,
        }
    )


def _battery_state(sample: Sample) -> int:
    """802.State: 1 disconnected, 3 connected, 99 fault."""
    if sample.battery_alarms:
        return 99
    return 3 if sample.is_contactor_closed else 1


def _fill_battery(bank: Bank, plant: RigPlant, ratings: _Ratings) -> None:
    bank.put(
        AHRtg_SF=-1,
        WHRtg_SF=ratings.energy_sf,
        WChaDisChaMax_SF=ratings.watt_sf,
        SoC_SF=-1,
        DoD_SF=-1,
        SoH_SF=-1,
        V_SF=ratings.dc_volt_sf,
        CellV_SF=-3,
        A_SF=ratings.dc_ampere_sf,
        AMax_SF=ratings.dc_ampere_sf,
        W_SF=ratings.watt_sf,
        LocRemCtl=0,
        CtrlHb=0,
        AlmRst=0,
        Typ=4 if plant.string.chemistry.name.startswith("lfp") else 99,
        Evt2=0,
        EvtVnd1=0,
        EvtVnd2=0,
        SetOp=1,
        SetInvState=3,
    )
    bank.put_values(
        AHRtg=ratings.capacity_ah,
        WHRtg=ratings.energy_wh,
        WChaRteMax=ratings.charge_w,
        WDisChaRteMax=ratings.power_w,
        SoCMax=100.0,
        SoCMin=0.0,
        VMax=plant.spec.bms.charge_voltage_limit_v,
        VMin=plant.spec.bms.discharge_voltage_limit_v,
    )
    # 802.A and W are "to/from" and nothing more (SunSpec model_802.json); here positive discharges.
    bank.measure = lambda s: (
        {
            "SoC": 100.0 * _clipped_share(s.soc),
            "DoD": 100.0 * (1.0 - _clipped_share(s.soc)),
            "SoH": 100.0 * s.soh,
            "ChaSt": s.charge_code,
            "Hb": int(s.at_s) & 0x7FFF,
            "State": _battery_state(s),
            "Evt1": _event_bits(s),
            "V": s.battery_voltage_v,
            "CellVMin": s.cell_voltages_v[0] if s.cell_voltages_v else math.nan,
            "CellVAvg": s.cell_voltages_v[1] if s.cell_voltages_v else math.nan,
            "CellVMax": s.cell_voltages_v[2] if s.cell_voltages_v else math.nan,
            "A": s.battery_current_a,
            "AChaMax": s.charge_current_limit_a,
            "ADisChaMax": s.discharge_current_limit_a,
            "W": s.battery_voltage_v * s.battery_current_a,
        }
    )
