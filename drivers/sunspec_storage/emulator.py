"""A storage inverter at the far end of a Modbus line: the SunSpec map, served from the plant.

What a unit does that no longer hears its controller's heartbeat, the text of model 715 leaves open. Ours is
the same as for a STOP: down the ramp, then off, until a START. A unit that was set up for it
(``heartbeat_timeout_s``) waits for the next one from the first on, for good: there is no word that ends it. A
START is a sign of the controller too.

Does not model: curves and droop (705 to 712: the plant has them as the product was delivered), constant power
factor while it charges (704.PFWAbs), ramps that can be set, reactive energy, latched alarms and their reset
(715.AlarmReset), DC contactors operated through 802.SetOp. Line-to-line voltages take the phases as 120
degrees apart, and power is shared among the phases by their apparent power. Beyond a register's range a value
saturates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from drivers.sunspec_storage import bms_frames, codec, points
from drivers.sunspec_storage.bms_frames import LIMITS, MEASUREMENTS, STATE_OF_CHARGE
from drivers.sunspec_storage.layout import Bank, Sample, alarm_words, lay_out, line_voltages_v, phase_shares
from drivers.sunspec_storage.options import Options
from drivers.sunspec_storage.points import Point
from harness.clock import now_s
from harness.plant.converter_spec import EnterService
from harness.plant.grid_support import ConstantPowerFactor, GridSupportSpec, Priority
from harness.roles import OperatingState
from harness.wires import CanPort, Frame, ModbusRefusal, Refusal, Table

if TYPE_CHECKING:
    from harness.plant import RigPlant


@dataclass(frozen=True, slots=True)
class _Timed:
    """One function of model 704 that falls back when its reversion time is over."""

    prefix: str
    values: tuple[str, ...]

    @property
    def enable(self) -> str:
        return f"{self.prefix}Ena"

    @staticmethod
    def fallback(value: str) -> str:
        """Point with what a value falls back to."""
        group, dot, name = value.partition(".")
        return f"{group}Rvrt{dot}{name}"


_TIMED = (
    _Timed("WMaxLimPct", ("WMaxLimPct",)),
    _Timed("WSet", ("WSet", "WSetPct")),
    _Timed("VarSet", ("VarSet", "VarSetPct")),
    _Timed("PFWInj", ("PFWInj.PF", "PFWInj.Ext")),
)

_ENTER_SERVICE = frozenset(
    f"703.{name}" for name in ("ESVHi", "ESVLo", "ESHzHi", "ESHzLo", "ESDlyTms", "ESRndTms", "ESRmpTms")
)

_AT_PRESENT = frozenset({704, 715, 802})
"""Models that show more than the last refresh: timers that run, cells that are looked at when asked for."""


class Emulator:
    """A SunSpec storage inverter over the plant's converter (``wires.ModbusUnit``).

    Measurements are renewed on a grid of rig time every ``options.refresh_s`` and stand in between: what is
    read is as old as the last refresh. A look that comes neither within a refresh of the last one nor in its
    rhythm finds values of its own instant, which then stand until the next refresh.

    Where a CAN port is attached it obeys the battery's limits as it hears them, and knows state of
    charge, voltage and current of the battery from there; else it sees the plant's BMS.

    Attributes:
        frozen: measurements stay at their last sample; commands still act.
        swapped_sign: power and current of AC and DC side with the wrong sign.
        silent: no answers.
        locked: settings are refused, as behind an installer's code; power commands are taken. The exception
            code is ours: SunSpec has no word for it.
        local: somebody has it at its own panel (715.LocRemCtl): every write but the heartbeat is refused, and
            no heartbeat is missed. The exception code is ours here too.
        lifeless: what looks after the heartbeats has stopped, and all else goes on: DERHb stands still, and
            nobody notices that ControllerHb does.
    """

    def __init__(self, name: str, plant: RigPlant, options: Options) -> None:
        self.name = name
        self.frozen = False
        self.swapped_sign = False
        self.silent = False
        self.locked = False
        self.local = False
        self.lifeless = False
        self._plant = plant
        self._options = options
        self._sample: Sample | None = None
        self._asked_s = 0.0
        self._interval_s = 0.0
        self._planned = 0
        self._hears: CanPort | None = None
        self._stop_listening: Callable[[], None] = lambda: None
        self._heard_soc: tuple[float, float] | None = None
        self._heard_battery: tuple[float, float] | None = None
        self._deadlines_s: dict[_Timed, float] = {}
        self._is_supervised = False
        self._controller_due_s = self._stopped_s = math.inf
        self._banks = lay_out(plant, options)
        self._alarm_words = alarm_words(plant)
        self._writable = {
            bank.address + point.offset: (bank, point)
            for bank in self._banks.values()
            for point in bank.model.points.values()
            if point.is_writable
        }
        self._allowed = self._ranges()
        self._image = self._banks[1].image
        self._within: dict[tuple[int, int], list[Bank]] = {}
        self._shown_alarms: frozenset[str] | None = None
        self._tells_cells = False

    async def start(self) -> None:
        """Begin to listen on CAN, where a port is attached."""
        if self._hears is not None:
            frames = (LIMITS, STATE_OF_CHARGE, MEASUREMENTS)
            self._stop_listening = self._hears.listen(frames, self._hear)

    async def stop(self) -> None:
        """Listen no longer."""
        self._stop_listening()
        self._stop_listening = lambda: None

    def attach(self, port: CanPort) -> None:
        """Give the inverter its own plug at the battery's CAN line; it listens from ``start`` on."""
        self._hears = port

    def _hear(self, frame: Frame) -> None:
        """Take a frame of the battery; one too short is dropped."""
        if self._plant.now_s < frame.at_s:  # who sent it has looked at the plant, as a rule
            self._plant.advance(frame.at_s)
        if frame.arbitration_id == LIMITS and (heard := bms_frames.limits(frame.data)) is not None:
            self._plant.converter.hear_bms(
                heard.charge_current_limit_a, heard.discharge_current_limit_a, heard.charge_voltage_limit_v
            )
        elif frame.arbitration_id == STATE_OF_CHARGE:
            self._heard_soc = bms_frames.state_of_charge(frame.data) or self._heard_soc
        elif frame.arbitration_id == MEASUREMENTS:
            self._heard_battery = bms_frames.measurements(frame.data) or self._heard_battery

    def read(self, table: Table, address: int, count: int) -> list[int]:
        """Answer from the map; whatever touches a register outside it is refused."""
        self._hear_out(table)
        first = address - points.BASES[0]
        if first < 0 or first + count > len(self._image):
            raise ModbusRefusal(Refusal.ILLEGAL_ADDRESS)
        now = now_s()
        banks = self._banks_within(first, first + count)
        if any(bank.model.number in _AT_PRESENT for bank in banks):
            self._plant.advance(now)
        sample = self._look(now)
        for bank in banks:
            self._show(bank, sample)
        return self._image[first : first + count]

    def _banks_within(self, first: int, end: int) -> list[Bank]:
        """Find the models between two indices; not for their ID and length alone, which never change."""
        found = self._within.get((first, end))
        if found is None:
            found = [bank for bank in self._banks.values() if first < bank.end and bank.start + 2 < end]
            if len(self._within) < 1000:  # a client asks for few blocks, again and again
                self._within[first, end] = found
        return found

    def _hear_out(self, table: Table) -> None:
        """Give no answer at all while silent, and refuse every table but the holding registers.

        Raises:
            TimeoutError: no answer is to be given.
        """
        if self.silent:
            raise TimeoutError(f"{self.name} is silent")
        if table is not Table.HOLDING:
            raise ModbusRefusal(Refusal.ILLEGAL_FUNCTION)

    def _show(self, bank: Bank, sample: Sample) -> None:
        """Bring one model's registers to the present."""
        if bank.model.number == 802 and sample.cell_voltages_v is None:
            self._tells_cells = True
            sample.cell_voltages_v = self._cell_voltages_v()
            bank.sample = None
        bank.show(sample)
        if bank.model.number == 701 and sample.maker_alarms != self._shown_alarms:
            self._shown_alarms = sample.maker_alarms
            bank.put_text("MnAlrmInfo", ",".join(sorted(sample.maker_alarms))[:64])
        elif bank.model.number == 704:
            self._count_down(bank)
        elif bank.model.number == 715:
            bank.put(LocRemCtl=int(self.local))
            if not self.lifeless:
                bank.put(DERHb=self._heartbeat())
        elif bank.model.number == 703:
            bank.put(ESDlyRemTms=math.ceil(self._plant.converter.enter_service_left_s))

    def _heartbeat(self) -> int:
        """Seconds of rig time, from zero again at the end of the register."""
        return math.floor(self._plant.now_s + 1e-6) % (points.KINDS["uint32"].highest + 1)

    def write(self, table: Table, address: int, values: Sequence[int]) -> None:
        """Take a write of whole writable points, all of them or none."""
        self._hear_out(table)
        self._plant.advance(now_s())
        taken: list[tuple[Bank, Point, int]] = []
        place, end = address, address + len(values)
        while place < end:
            if place not in self._writable:
                raise ModbusRefusal(Refusal.ILLEGAL_ADDRESS)
            bank, point = self._writable[place]
            if place + point.size > end or bank.raw(point.name) == point.kind.unimplemented:
                raise ModbusRefusal(Refusal.ILLEGAL_ADDRESS)
            is_shut = self.locked and str(point) not in points.POWER_COMMANDS
            if is_shut or (self.local and str(point) != "715.ControllerHb"):
                raise ModbusRefusal(Refusal.ILLEGAL_ADDRESS)
            raw = codec.to_int(point, values[place - address : place - address + point.size])
            self._check(bank, point, raw)
            taken.append((bank, point, raw))
            place += point.size
        heard = self._banks[715].raw("ControllerHb")
        for bank, point, raw in taken:
            bank.put(**{point.name: raw})
        if self._banks[715].raw("ControllerHb") != heard:
            self._is_supervised = True
            self._wait_for_controller()
        self._act({str(point) for _, point, _ in taken})

    def _check(self, bank: Bank, point: Point, raw: int) -> None:
        """Refuse what the point may not be."""
        allowed = self._allowed.get(str(point))
        if raw == point.kind.unimplemented:
            is_good = False
        elif isinstance(allowed, tuple):
            lowest, highest = allowed
            is_good = lowest <= codec.scaled(raw, bank.exponent(point.name)) <= highest
        elif allowed is not None:
            is_good = raw in allowed
        elif str(point) == "715.OpCtl" and self._is_stopped:
            is_good = raw in {point.code("STOP"), point.code("START")}
        elif point.is_bitfield:
            is_good = raw >> (max(point.symbols, default=-1) + 1) == 0
        else:
            is_good = not point.symbols or raw in point.symbols
        if not is_good:
            raise ModbusRefusal(Refusal.ILLEGAL_VALUE)

    def _look(self, now: float) -> Sample:
        """Give the sample that stands now, and foresee the next look.

        The plant goes no further than to the refresh that was foreseen, if that is the last one before now.
        """
        plant, step = self._plant, self._step(now)
        refreshed_s = self._planned * self._options.refresh_s
        if plant.now_s < refreshed_s <= now:
            plant.advance(refreshed_s)
        if self._sample is None or (self._step(self._sample.at_s) < step and not self.frozen):
            plant.advance(now)
            self._sample = self._measure()
        if now > self._asked_s:
            self._interval_s = now - self._asked_s
            self._asked_s = now
        # A plant that is stopped at every refresh is half as fast: only the one that counts is planned.
        planned = max(self._step(now + self._interval_s), step + 1)
        if planned != self._planned:
            self._planned = planned
            plant.at(planned * self._options.refresh_s, lambda: self._renew(planned))
        return self._sample

    def _step(self, time_s: float) -> int:
        """Number of the last refresh at or before a time, to a millionth; number 0 is at zero."""
        return math.floor(time_s / self._options.refresh_s + 1e-6)

    def _renew(self, planned: int) -> None:
        """Measure at the refresh that was foreseen, unless another one has been since."""
        is_due = self._sample is None or self._step(self._sample.at_s) < planned
        if planned == self._planned and is_due and not self.frozen:
            self._sample = self._measure()

    def _measure(self) -> Sample:
        """Measure everything at the plant's present."""
        plant = self._plant
        converter, bms = plant.converter, plant.bms
        sign = -1.0 if self.swapped_sign else 1.0
        if self._hears is None:
            soc, soh = bms.soc, bms.soh
            voltage_v, current_a = bms.voltage_v, bms.current_a
        else:
            soc, soh = self._heard_soc or (math.nan, math.nan)
            voltage_v, current_a = self._heard_battery or (math.nan, math.nan)
        voltages_v = (converter.ac_voltage_v(1), converter.ac_voltage_v(2), converter.ac_voltage_v(3))
        currents_a = (converter.ac_current_a(1), converter.ac_current_a(2), converter.ac_current_a(3))
        words = self._alarm_words
        return Sample(
            at_s=plant.now_s,
            power_w=sign * converter.power_w,
            reactive_power_var=sign * converter.reactive_power_var,
            apparent_power_va=converter.apparent_power_va,
            frequency_hz=converter.frequency_hz,
            voltages_v=voltages_v,
            currents_a=currents_a,
            line_voltages_v=line_voltages_v(voltages_v),
            phase_shares=phase_shares(voltages_v, currents_a),
            dc_voltage_v=converter.dc_voltage_v,
            dc_current_a=sign * converter.dc_current_a,
            dc_power_w=sign * converter.dc_power_w,
            injected_j=converter.energy_injected_j,
            absorbed_j=converter.energy_absorbed_j,
            temperature_degc=converter.temperature_degc,
            state=self._state(),
            is_on=converter.is_on,
            is_grid_forming=converter.is_grid_forming,
            alarms=frozenset([words[alarm] for alarm in converter.alarms if alarm in words]),
            maker_alarms=frozenset([alarm for alarm in converter.alarms if alarm not in words]),
            soc=soc,
            soh=soh,
            battery_voltage_v=voltage_v,
            battery_current_a=sign * current_a,
            cell_voltages_v=self._cell_voltages_v() if self._tells_cells else None,
            charge_current_limit_a=bms.charge_current_limit_a,
            discharge_current_limit_a=bms.discharge_current_limit_a,
            is_contactor_closed=bms.contactor_closed,
            battery_alarms=bms.alarms,
            battery_warnings=bms.warnings,
        )

    def _state(self) -> OperatingState:
        state = self._plant.converter.state
        if state in {OperatingState.RUNNING, OperatingState.THROTTLED}:
            if self._is_stopped:
                return OperatingState.SHUTTING_DOWN
            if self._was_told("ENTER_STANDBY"):
                return OperatingState.STANDBY
        return state

    def _cell_voltages_v(self) -> tuple[float, float, float]:
        """Lowest, mean and highest."""
        cells_v = self._plant.string.cell_voltages_v
        return float(cells_v.min()), float(cells_v.mean()), float(cells_v.max())

    def _act(self, written: Collection[str]) -> None:
        """Let the plant follow what was written."""
        controls = self._banks[704]
        if "715.OpCtl" in written and not self._is_stopped and self._is_supervised:
            self._wait_for_controller()
        if not {"123.Conn", "703.ES", "715.OpCtl"}.isdisjoint(written):
            self._connect()
        if not _ENTER_SERVICE.isdisjoint(written):
            self._take_enter_service()
        if "802.AlmRst" in written:
            self._banks[802].put(AlmRst=0)  # the battery clears it once done (SunSpec model_802.json)
        for timed in _TIMED:
            names = (timed.enable, *timed.values, f"{timed.prefix}RvrtTms")
            if not {f"704.{name}" for name in names}.isdisjoint(written):
                self._start_timer(controls, timed)
        self._command()

    @property
    def _is_stopped(self) -> bool:
        return self._was_told("STOP")

    def _was_told(self, word: str) -> bool:
        controls = self._banks[715]
        return controls.raw("OpCtl") == controls.model.points["OpCtl"].code(word)

    def _connect(self) -> None:
        """Turn on or off as 123, 703 and 715 say; a STOP takes power down its ramp first."""
        converter = self._plant.converter
        if self._banks[123].raw("Conn") != 1 or self._banks[703].raw("ES") != 1:
            converter.turn_off()
        elif not self._is_stopped:
            converter.turn_on()
        elif converter.is_on:
            spec = self._plant.spec.converter
            ramp_s = abs(converter.power_w) / spec.ramp_w_per_s
            # The response is the time to nine tenths: after two of them a hundredth is left.
            over_s = self._stopped_s = self._plant.now_s + ramp_s + 2.0 * spec.response_s
            self._plant.at(over_s, lambda: self._cease(over_s))

    def _cease(self, over_s: float) -> None:
        """Turn off at a ramp's end, unless it was started since."""
        if self._is_stopped and self._stopped_s == over_s:
            self._plant.converter.turn_off()

    def _wait_for_controller(self) -> None:
        """Give the controller its whole time to show another heartbeat."""
        if self._options.heartbeat_timeout_s is None:
            return
        due_s = self._controller_due_s = self._plant.now_s + self._options.heartbeat_timeout_s
        self._plant.at(due_s, lambda: self._miss_controller(due_s))

    def _miss_controller(self, due_s: float) -> None:
        """Stop, unless a heartbeat came since, or nobody looks after them."""
        if self._controller_due_s == due_s and not self.local and not self.lifeless:
            controls = self._banks[715]
            controls.put(OpCtl=controls.model.points["OpCtl"].code("STOP"))
            self._connect()
            self._command()

    def _command(self) -> None:
        """Set the converter's power from the controls as they stand."""
        converter = self._plant.converter
        support = self._commanded_support()
        if support != converter.grid_support:
            converter.set_grid_support(support)
        converter.set_power_w(self._commanded_power_w())
        converter.set_reactive_power_var(self._commanded_reactive_power_var())

    def _commanded_support(self) -> GridSupportSpec:
        """Grid support as it was delivered, with the power factor and the priority that are commanded."""
        controls = self._banks[704]
        delivered = self._plant.spec.converter.grid_support
        reactive = delivered.reactive
        if controls.raw("PFWInjEna") == 1:
            reactive = ConstantPowerFactor(
                power_factor=controls.value("PFWInj.PF"),
                injects=controls.raw("PFWInj.Ext") == 0,
                holds_while_charging=False,
            )
        elif controls.raw("VarSetEna") == 1:
            reactive = None  # one reactive function at a time (IEEE 1547-2018, 5.3.1)
        priority = (Priority.ACTIVE, Priority.REACTIVE)[controls.raw("VarSetPri")]
        return replace(delivered, reactive=reactive, priority=priority)

    def _take_enter_service(self) -> None:
        """Let the plant come back as 703 says."""
        bank, converter = self._banks[703], self._plant.converter
        nominal_hz = self._plant.spec.converter.nominal_frequency_hz
        converter.set_enter_service(
            EnterService(
                voltage_pu=(bank.value("ESVLo") / 100.0, bank.value("ESVHi") / 100.0),
                frequency_hz=(bank.value("ESHzLo") - nominal_hz, bank.value("ESHzHi") - nominal_hz),
                delay_s=bank.value("ESDlyTms"),
                random_delay_s=bank.value("ESRndTms"),
                ramp_s=bank.value("ESRmpTms"),
            )
        )

    def _commanded_power_w(self) -> float:
        """Active power that the controls ask for, within every limit that is set."""
        controls, immediate, storage = self._banks[704], self._banks[123], self._banks[124]
        capacity = self._banks[702]
        rating_w = min(capacity.value("WMax"), self._banks[121].value("WMax"))
        if controls.raw("WSetEna") == 0 or self._is_stopped or self._was_told("ENTER_STANDBY"):
            power_w = 0.0
        elif controls.raw("WSetMod") == 1:
            power_w = controls.value("WSet")
        else:
            power_w = controls.value("WSetPct") / 100.0 * rating_w
        discharge_w = min(rating_w, capacity.value("WDisChaRteMax"))
        charge_w = min(rating_w, capacity.value("WChaRteMax"), storage.value("WChaMax"))
        limited = storage.raw("StorCtl_Mod")
        if limited & 1:
            charge_w = min(charge_w, storage.value("InWRte") / 100.0 * storage.value("WChaMax"))
        if limited & 2:
            rating = self._plant.spec.converter.rated_power_w
            discharge_w = min(discharge_w, storage.value("OutWRte") / 100.0 * rating)
        for bank, enable in ((controls, "WMaxLimPctEna"), (immediate, "WMaxLim_Ena")):
            if bank.raw(enable) == 1:
                limit_w = bank.value("WMaxLimPct") / 100.0 * rating_w
                discharge_w, charge_w = min(discharge_w, limit_w), min(charge_w, limit_w)
        return min(max(power_w, -charge_w), discharge_w)

    def _commanded_reactive_power_var(self) -> float:
        controls = self._banks[704]
        if controls.raw("VarSetEna") == 0:
            return 0.0
        most_var = self._plant.spec.converter.rated_apparent_power_va
        if controls.raw("VarSetMod") == 4:
            return controls.value("VarSet")
        base = self._banks[702].value("WMax") if controls.raw("VarSetMod") == 0 else most_var
        return controls.value("VarSetPct") / 100.0 * base

    def _start_timer(self, controls: Bank, timed: _Timed) -> None:
        """Start, start anew or end a reversion timer: each write to the function is a sign of life."""
        duration_s = controls.raw(f"{timed.prefix}RvrtTms")
        self._deadlines_s.pop(timed, None)
        if duration_s == 0 or controls.raw(timed.enable) == 0:
            return
        deadline_s = self._plant.now_s + duration_s
        self._deadlines_s[timed] = deadline_s
        self._plant.at(deadline_s, lambda: self._revert(timed, deadline_s))

    def _revert(self, timed: _Timed, deadline_s: float) -> None:
        """Fall back, unless the timer was started anew since."""
        if self._deadlines_s.get(timed) != deadline_s:
            return
        del self._deadlines_s[timed]
        controls = self._banks[704]
        for name in timed.values:
            controls.put(**{name: controls.raw(timed.fallback(name))})
        controls.put(**{timed.enable: controls.raw(f"{timed.enable}Rvrt")})
        self._command()

    def _count_down(self, controls: Bank) -> None:
        """Show what is left of each timer, in started seconds."""
        for timed in _TIMED:
            left_s = self._deadlines_s.get(timed, self._plant.now_s) - self._plant.now_s
            controls.put(**{f"{timed.prefix}RvrtRem": math.ceil(left_s)})

    def _ranges(self) -> dict[str, tuple[float, float] | frozenset[int]]:
        """Values that writable points may take, in their units; codes as sets."""
        spec = self._plant.spec.converter
        rated_w, charge_w, apparent = (
            spec.rated_power_w,
            spec.rated_charge_power_w,
            spec.rated_apparent_power_va,
        )
        most_w = max(rated_w, charge_w)
        percent = (0.0, 100.0)
        ranges: dict[str, tuple[float, float] | frozenset[int]] = {
            "1.DA": frozenset({self._options.unit}),
            "121.WMax": (0.0, most_w),
            "121.VRef": (
                0.9 * spec.nominal_voltage_v * math.sqrt(3),
                1.1 * spec.nominal_voltage_v * math.sqrt(3),
            ),
            "121.VRefOfs": (-20.0, 20.0),
            "123.WMaxLimPct": percent,
            # Constant power factor and the older reactive controls: mandatory points, never enabled here.
            "123.OutPFSet": (1.0, 1.0),
            "123.OutPFSet_Ena": frozenset({0}),
            "123.VArPct_Ena": frozenset({0}),
            "124.WChaMax": (0.0, charge_w),
            "124.WChaGra": (100.0, 100.0),
            "124.WDisChaGra": (100.0, 100.0),
            "124.OutWRte": percent,
            "124.InWRte": percent,
            "702.WMax": (0.0, most_w),
            "702.WChaRteMax": (0.0, charge_w),
            "702.WDisChaRteMax": (0.0, rated_w),
            "703.ESVHi": (100.0, 120.0),
            "703.ESVLo": (50.0, 100.0),
            "703.ESHzHi": (spec.nominal_frequency_hz, spec.nominal_frequency_hz + 5.0),
            "703.ESHzLo": (spec.nominal_frequency_hz - 5.0, spec.nominal_frequency_hz),
            "703.ESDlyTms": (0.0, 1000.0),
            "703.ESRndTms": (0.0, 1000.0),
            "703.ESRmpTms": (0.0, 1000.0),
            "704.PFWInj.PF": (0.01, 1.0),
            "704.PFWInjRvrt.PF": (0.01, 1.0),
            "704.WMaxLimPct": percent,
            "704.WMaxLimPctRvrt": percent,
            "704.WSet": (-charge_w, rated_w),
            "704.WSetRvrt": (-charge_w, rated_w),
            "704.WSetPct": (-100.0, 100.0),
            "704.WSetPctRvrt": (-100.0, 100.0),
            "704.VarSetMod": frozenset({0, 1, 3, 4}),
            "704.VarSetPri": frozenset({0, 1}),
            "704.VarSet": (-apparent, apparent),
            "704.VarSetRvrt": (-apparent, apparent),
            "704.VarSetPct": (-100.0, 100.0),
            "704.VarSetPctRvrt": (-100.0, 100.0),
            "802.AlmRst": frozenset({0, 1}),
            "802.SetOp": frozenset({1}),
        }
        return ranges
