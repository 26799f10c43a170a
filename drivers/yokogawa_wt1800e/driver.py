"""Reads steady power, voltage, current and integrated energy from a WT1800E.

It is no Recorder: a value is the mean over a whole update interval, and the waveform read-out is 1,602
points that are the lowest and highest value of each column of its screen, with an unknown delay to any
trigger. ``envelope`` shows these for a look at a shape; no transient is judged from them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from drivers.yokogawa_wt1800e import codec, points
from drivers.yokogawa_wt1800e.options import Options, Wiring
from harness.clock import now_s
from harness.errors import CodecError, DeviceFault, DeviceRefused, StaleReading, WireTimeout, excerpt
from harness.judge.uncertainty import accuracy, measured, rectangular
from harness.readings import Measured, Voice
from harness.roles import EnergyValues, Identity, PowerValues
from harness.wires import VisaLine
from harness.wires.scpi_talk import ScpiTalk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

_STEPS = 20
"""Looks at the event register in one update interval, while the update's moment is being found."""

_DRIFT = 1e-4
"""How far the instrument's clock may run from the bench's, as a fraction, before the moment is found anew."""

_SHARED = 0.1
"""Share of an update interval for which an update that was read still serves other nodes."""

_LOST = 3
"""Update intervals without an update after which the values count as stale."""

_JOULES = 3600.0
"""In a watt-hour, and coulombs in an ampere-hour."""

_AC_FUNCTIONS = ("URMS", "IRMS", "P", "Q", "FU", "WHP", "WHM", "AHP", "AHM", "TIME")
_DC_FUNCTIONS = ("UDC", "IDC", "P", "WHP", "WHM", "AHP", "AHM", "TIME")


@dataclass(frozen=True, slots=True)
class Envelope:
    """Lowest and highest value in each column of the instrument's waveform screen.

    Attributes:
        lowest: shape (n,), V or A.
        highest: shape (n,), V or A.
        column_s: time that a column stands for.
        source: ``<device>.<node>.<quantity>``.
    """

    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    column_s: float
    source: str


@dataclass(slots=True)
class _Update:
    """One update as it was read."""

    values: list[float]
    window_s: tuple[float, float]
    read_at_s: float
    taken_by: set[str] = field(default_factory=set)


class _Limit(NamedTuple):
    """Limit of an error, as a standard uncertainty: a share of the reading, and a part in its unit."""

    of_reading: float
    of_range: float

    def of(self, reading: float) -> float:
        return abs(reading) * self.of_reading + self.of_range


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """What stays from update to update at one node: names, places, signs, standard uncertainties."""

    source: str
    quantities: tuple[str, ...]
    functions: tuple[str, ...]
    places: tuple[int, ...]
    is_dc: bool
    sign: int
    phases: int
    conductors: int
    power_range_w: float
    voltage: _Limit
    current: _Limit
    power: _Limit
    apparent: _Limit
    zero_a: float
    zero_w: float
    sensor: float
    power_factor: float
    frequency: float


@dataclass(frozen=True, slots=True)
class _Values:
    """One update at one node: ``roles.PowerValues``. Values were recorded as they came.

    Uncertainties are worked out when they are asked for: a running charge looks at three of ten values.
    """

    limits: _Limits
    window_s: tuple[float, float]
    u_v: float
    i_a: float
    p_w: float
    q_var: float
    f_hz: float

    def _measured(self, quantity: str, value: float, parts: Mapping[str, float]) -> Measured:
        source = f"{self.limits.source}.{quantity}"
        return measured(value, _UNITS[quantity], parts, window_s=self.window_s, sources=(source,))

    @property
    def voltage_v(self) -> Measured:
        parts = {
            "reading and range": self.limits.voltage.of(self.u_v),
            "resolution": _resolution(self.u_v, points.DIGITS),
        }
        return self._measured("voltage_v", self.u_v, parts)

    @property
    def current_a(self) -> Measured:
        limits = self.limits
        parts = {
            "reading and range": limits.current.of(self.i_a),
            "resolution": _resolution(self.i_a, points.DIGITS),
            "zero of the current": limits.zero_a,
            "current sensor": limits.sensor * self.i_a,
        }
        return self._measured("current_a", self.i_a, parts)

    @property
    def power_w(self) -> Measured:
        limits = self.limits
        parts = {
            "reading and range": limits.power.of(self.p_w),
            "resolution": _resolution(self.p_w, points.DIGITS),
            "zero of the current": limits.zero_w,
            "current sensor": limits.sensor * self.p_w,
            "power factor": limits.power_factor * self.q_var,
        }
        return self._measured("power_w", self.p_w, parts)

    @property
    def reactive_power_var(self) -> Measured:
        limits = self.limits
        if limits.is_dc:
            return self._measured("reactive_power_var", self.q_var, {})
        # It is computed from apparent and active power, which is coarse near unity power factor.
        apparent_va = self.u_v * abs(self.i_a) * limits.conductors
        share = min((self.p_w / apparent_va) ** 2, 1.0) if apparent_va > 0.0 else 1.0
        term = math.sqrt(points.REACTIVE_POWER_FACTOR_TERM - share) - math.sqrt(1.0 - share)
        parts = {
            "apparent power": limits.apparent.of(apparent_va),
            "power factor": rectangular(term * limits.power_range_w),
            "current sensor": limits.sensor * apparent_va,
        }
        return self._measured("reactive_power_var", self.q_var, parts)

    @property
    def frequency_hz(self) -> Measured:
        if math.isnan(self.f_hz):
            raise DeviceFault(f"{self.limits.source}.frequency_hz: no value (nan): the line is dead")
        return self._measured("frequency_hz", self.f_hz, {"reading": self.limits.frequency * self.f_hz})


class Driver:
    """A WT1800E in the role of power analyzer.

    One query reads all nodes; nodes that are asked for at the same update share it.
    """

    def __init__(self, name: str, wire: VisaLine, options: Options, voice: Voice) -> None:
        self.name = name
        self._wire = wire
        self._talk = ScpiTalk(name, wire, points.NEXT_ERROR)
        self._options = options
        self._voice = voice
        self._interval_s = options.update_interval_s
        self._items: dict[tuple[str, str], int] = {}
        for node in options.nodes:
            for function in _DC_FUNCTIONS if _is_dc(node) else _AC_FUNCTIONS:
                self._items[node, function] = len(self._items)
        self._wirings: Mapping[str, Wiring] = {str(node): wiring for node, wiring in options.nodes.items()}
        self._limits: dict[str, _Limits] = {}
        self._lock = asyncio.Lock()
        self._update: _Update | None = None
        self._seen_s: float | None = None
        self._found_s = 0.0
        self._cleared_s = -math.inf

    async def open(self) -> None:
        """Set wiring, ranges and the table of numeric items; stops an integration that was left running.

        Raises:
            DeviceFault: another instrument answers.
            DeviceRefused: it does not take a setting, with its own code and text.
        """
        await self._wire.write(points.REMOTE.format(state="ON"))
        await self._wire.write(f"{points.HEADER_OFF};{points.VERBOSE_ON};{points.MESSAGES_ON}")
        identity = await self.identity()
        if identity.maker.upper() != "YOKOGAWA" or not identity.model.upper().startswith("WT180"):
            raise DeviceFault(
                f"{self.name}: {identity.maker} {identity.model} answers at {self._wire.name},"
                " expected a YOKOGAWA WT1801E to WT1806E"
            )
        await self._wire.write(points.CLEAR)
        if await self._integration_state() == "START":
            await self._talk.command(points.INTEGRATION_STOP)
        await self._talk.command(points.INTEGRATION_RESET)
        for command in self._configuration():
            await self._talk.command(command)
        await self._set_rate(self._options.update_interval_s)

    async def close(self) -> None:
        """Give the front panel back; a running integration goes on."""
        await self._wire.write(points.REMOTE.format(state="OFF"))

    async def identity(self) -> Identity:
        """Ask for maker, model with suffix, serial number and firmware."""
        return await self._talk.identity()

    async def nodes(self) -> frozenset[str]:
        """Nodes that the rig file wires to its elements."""
        return frozenset(self._options.nodes)

    async def update_interval_s(self) -> float:
        """Ask for the interval that it averages over."""
        return self._voice.reading("update_interval_s", await self._talk.number(points.RATE_NOW)).value

    async def set_update_interval_s(self, interval_s: float) -> None:
        """Choose one of its steps.

        Raises:
            DeviceRefused: no such step, or it is integrating.
        """
        if interval_s not in points.UPDATE_INTERVALS_S:
            raise DeviceRefused(
                f"{self.name}: set_update_interval_s({interval_s:g}) refused:"
                f" allowed are {points.UPDATE_INTERVALS_S} s"
            )
        self._voice.command("set_update_interval_s", interval_s)
        await self._set_rate(interval_s)

    async def values(self, node: str) -> PowerValues:
        """Wait for the next update and read it; its window starts before the call.

        Raises:
            DeviceFault: a value is over-range (INF) or missing (NAN); the message names it.
            StaleReading: no update came within three intervals.
        """
        self._wiring(node)
        async with self._lock:
            update = self._update
            if (
                update is None
                or node in update.taken_by
                or now_s() - update.read_at_s > _SHARED * self._interval_s
            ):
                update = await self._next_update()
            update.taken_by.add(node)
        return self._power_values(node, update)

    async def start_integration(self) -> None:
        """Reset and start the integration of all elements, without a timer.

        Raises:
            DeviceFault: it says afterwards that it is not running.
        """
        self._voice.command("start_integration")
        if await self._integration_state() == "START":
            await self._talk.command(points.INTEGRATION_STOP)
        await self._talk.command(points.INTEGRATION_RESET)
        await self._talk.command(points.INTEGRATION_START)
        state = await self._integration_state()
        if state != "START":
            raise DeviceFault(
                f"{self.name}: integration was started, and its state is {state}, expected START"
            )

    async def stop_integration(self) -> None:
        """Stop the integration; DeviceRefused (844) where none is running."""
        self._voice.command("stop_integration")
        await self._talk.command(points.INTEGRATION_STOP)

    async def energy(self, node: str) -> EnergyValues:
        """Read what was integrated up to the last update, or up to the stop.

        The charge of an AC node is that of its direct current.

        Raises:
            DeviceFault: nothing was integrated since the last reset, or it overflowed.
        """
        wiring = self._wiring(node)
        values = await self._read_values()
        duration_s = self._value(node, "TIME", values)
        end_s = now_s()
        window_s = (max(end_s - duration_s - self._interval_s, 0.0), end_s)
        plus, minus = ("WHP", "WHM") if wiring.sign > 0 else ("WHM", "WHP")
        charge_plus, charge_minus = f"AH{plus[-1]}", f"AH{minus[-1]}"
        power = points.DC_POWER if _is_dc(node) else points.AC_POWER
        zero_a = _zero_a(wiring)

        def integrated(
            quantity: str, function: str, limits: points.Accuracy, range_: float, zero: float
        ) -> Measured:
            value = abs(self._value(node, function, values)) * _JOULES * wiring.balanced_phases
            parts = {
                "reading and range": accuracy(
                    value, self._of_reading(limits), range_ * duration_s, limits.of_range
                ),
                "zero of the current": rectangular(zero * duration_s),
                "time": rectangular(points.INTEGRATION_TIME_OF_READING * value),
                "current sensor": rectangular(wiring.sensor_of_reading * value),
                "resolution": _resolution(value, points.ENERGY_DIGITS),
            }
            return self._found(node, quantity, value, parts, window_s)

        zero_w = zero_a * wiring.u_range_v
        charge, range_a = points.DC_CURRENT, wiring.current_range_a
        return EnergyValues(
            out_j=integrated("out_j", plus, power, wiring.power_range_w, zero_w),
            in_j=integrated("in_j", minus, power, wiring.power_range_w, zero_w),
            charge_out_c=integrated("charge_out_c", charge_plus, charge, range_a, zero_a),
            charge_in_c=integrated("charge_in_c", charge_minus, charge, range_a, zero_a),
            duration_s=duration_s,
        )

    async def envelope(self, node: str, quantity: str, phase: int = 1) -> Envelope:
        """Read the waveform screen of one element as lowest and highest values.

        Args:
            node: of the rig.
            quantity: ``u`` or ``i``.
            phase: 1 to 3; 1 for a node with one element.
        """
        wiring = self._wiring(node)
        if quantity not in {"u", "i"} or not 1 <= phase <= len(wiring.elements):
            raise DeviceRefused(
                f"{self.name}: envelope({node}, {quantity}, {phase}): allowed are u and i,"
                f" phase 1 to {len(wiring.elements)}"
            )
        import numpy as np  # noqa: PLC0415 - 60 ms that a rig without waveforms need not wait for

        trace = f"{quantity.upper()}{wiring.elements[phase - 1]}"
        await self._talk.command(f"{points.WAVE_TRACE.format(trace=trace)};{points.WAVE_FORMAT}")
        length = int(await self._talk.number(points.WAVE_LENGTH))
        rate_hz = await self._talk.number(points.WAVE_RATE)
        if length < 2 or not rate_hz > 0.0:
            raise CodecError(
                f"{self.name}: {points.WAVE_LENGTH} was answered {length}, {points.WAVE_RATE} {rate_hz:g}:"
                " two points or more, and a rate above 0, are expected"
            )
        await self._talk.command(points.WAVE_WHOLE.format(last=length - 1))
        try:
            answer = await self._wire.query(points.WAVE_SEND)
        except WireTimeout:
            await self._talk.check_errors(points.WAVE_SEND)  # which says why it is silent, if it knows
            raise
        samples = np.array(
            self._decoded(points.WAVE_SEND, lambda text: codec.decode_values(text, length), answer)
        )
        pairs = samples[: len(samples) // 2 * 2].reshape(-1, 2)
        if quantity == "i":
            pairs = pairs * wiring.sign
        return Envelope(
            pairs.min(axis=1), pairs.max(axis=1), 2.0 / rate_hz, f"{self.name}.{node}.{quantity}{phase}"
        )

    def _configuration(self) -> list[str]:
        """Commands that make the instrument what the rig file says, one message a step."""
        options = self._options
        commands = [points.WIRING.format(units=",".join(options.wiring_units()))]
        for node, wiring in options.nodes.items():
            is_dc = _is_dc(node)
            for number in wiring.elements:
                source = "NONE" if is_dc else f"U{wiring.elements[0]}"
                commands += [
                    points.VOLTAGE_AUTO_OFF.format(element=number),
                    points.VOLTAGE_RANGE.format(element=number, range_v=wiring.u_range_v),
                    points.CURRENT_AUTO_OFF.format(element=number),
                    points.CURRENT_RANGE.format(element=number, range_a=wiring.i_range_a),
                    points.CURRENT_RATIO.format(element=number, ratio=wiring.ct_ratio),
                    points.SCALING.format(element=number, state="ON" if wiring.ct_ratio != 1.0 else "OFF"),
                    points.SYNCHRONIZE.format(element=number, source=source),
                    points.ENERGY_TYPE.format(element=number, type="CHARge" if is_dc else "SOLD"),
                    points.CHARGE_MODE.format(element=number),
                ]
        commands += [
            points.INTEGRATION_MODE,
            points.INTEGRATION_TIMER,
            points.NUMERIC_FORMAT,
            points.NUMERIC_HOLD_OFF,
            points.ITEM_COUNT.format(count=len(self._items)),
        ]
        for (name, function), index in self._items.items():
            # A wiring unit has no frequency: its first element's stands for it.
            element = str(self._wiring(name).elements[0]) if function == "FU" else options.element_of(name)
            commands.append(points.ITEM.format(index=index + 1, function=function, element=element))
        return [*commands, points.UPDATE_FILTER]

    async def _set_rate(self, interval_s: float) -> None:
        await self._talk.command(points.RATE.format(milliseconds=round(interval_s * 1000)))
        self._interval_s = interval_s
        self._limits.clear()
        self._update = None
        self._seen_s = None

    async def _integration_state(self) -> str:
        """State in its long form: RESET, READY, START, STOP, ERROR or TIMEUP."""
        answer = (await self._wire.query(points.INTEGRATION_STATE)).strip().upper()
        for state in ("RESET", "READY", "START", "STOP", "ERROR", "TIMEUP"):
            if answer in {state, state[:3], state[:4]}:
                return state
        raise CodecError(
            f"{self.name}: {points.INTEGRATION_STATE} was answered {excerpt(answer)}: no such state"
        )

    async def _events(self) -> int:
        self._cleared_s = now_s()
        return self._decoded(points.EVENTS, codec.decode_events, await self._wire.query(points.EVENTS))

    async def _next_update(self) -> _Update:
        """Wait for an update that ends after now, and read all items.

        An update's moment is found once by polling; later ones are met by counting intervals, which
        costs one look at the events.
        """
        interval_s = self._interval_s
        step_s = max(interval_s / _STEPS, 0.005)
        now = now_s()
        deadline_s = now + _LOST * interval_s
        is_lost = self._seen_s is None or (now - self._found_s) * _DRIFT > step_s / 2
        is_stale = now - self._cleared_s > 1.5 * interval_s
        if is_lost or is_stale:
            await self._events()
        if self._seen_s is None or is_lost:
            await asyncio.sleep(step_s)
        else:
            due_s = self._seen_s + (math.floor((now - self._seen_s) / interval_s) + 1) * interval_s
            if is_stale and due_s - now < 1.5 * step_s:
                # It may have come already, and its event was cleared just now: moments are known to a step,
                # and half of one of drift.
                due_s += interval_s
            await asyncio.sleep(due_s + step_s / 2 - now)
            if await self._events() & points.UPDATED:
                return self._remember(await self._read_values(), due_s)
        while not await self._events() & points.UPDATED:
            if now_s() > deadline_s:
                self._seen_s = None
                raise StaleReading(
                    f"{self.name}: no update within {_LOST} intervals of {interval_s:g} s"
                    f" ({points.EVENTS} bit 0 stays 0): held on its front panel?"
                )
            await asyncio.sleep(step_s)
        self._seen_s = self._found_s = now_s()
        return self._remember(await self._read_values(), self._seen_s)

    def _remember(self, values: list[float], end_s: float) -> _Update:
        """Keep an update that ended at most one look before ``end_s``."""
        step_s = max(self._interval_s / _STEPS, 0.005)
        window_s = (max(end_s - step_s - self._interval_s, 0.0), end_s)
        self._seen_s = end_s
        self._update = _Update(values, window_s, now_s())
        return self._update

    async def _read_values(self) -> list[float]:
        answer = await self._wire.query(points.VALUES)
        return self._decoded(points.VALUES, lambda text: codec.decode_values(text, len(self._items)), answer)

    def _decoded(self, asked: str, decode: Callable[[str], T], answer: str) -> T:
        """Decode an answer, with who was asked what in the error."""
        try:
            return decode(answer)
        except CodecError as error:
            raise CodecError(f"{self.name}: {asked}: {error}") from error

    def _wiring(self, node: str) -> Wiring:
        if node not in self._wirings:
            raise DeviceRefused(
                f"{self.name}: it is not wired to {node!r}; allowed are {', '.join(sorted(self._wirings))}"
            )
        return self._wirings[node]

    def _value(self, node: str, function: str, values: list[float]) -> float:
        """Take one item out of an answer; DeviceFault where the instrument sent no number."""
        value = values[self._items[node, function]]
        if math.isfinite(value):
            return value
        what = "over-range" if math.isinf(value) else "no value"
        hint = ""
        if math.isnan(value) and function in {"WHP", "WHM", "AHP", "AHM", "TIME"}:
            hint = ": nothing was integrated since the last reset"
        item = f"{function},{self._options.element_of(node)}"
        raise DeviceFault(f"{self.name}: {item} at {node}: {what} ({value}){hint}")

    def _of_reading(self, limits: points.Accuracy) -> float:
        """Share of the reading at this age of the calibration and this update interval."""
        age = points.AFTER_ONE_YEAR if self._options.is_older_than_six_months else 1.0
        return limits.of_reading * age + points.SHORT_UPDATE_OF_READING.get(self._interval_s, 0.0)

    def _found(
        self,
        node: str,
        quantity: str,
        value: float,
        parts: Mapping[str, float],
        window_s: tuple[float, float],
    ) -> Measured:
        """Record a value as a reading, and give it with its uncertainty."""
        reading = self._voice.reading(f"{node}.{quantity}", value, window_s[1])
        return measured(value, _UNITS[quantity], parts, window_s=window_s, sources=(reading.source,))

    def _power_values(self, node: str, update: _Update) -> PowerValues:
        """Record what an update has for a node."""
        limits = self._limits.get(node)
        if limits is None:
            limits = self._limits[node] = self._limits_at(node)
        values = update.values
        (u, i, p, *rest), sign = limits.places, limits.sign
        u_v, i_a, p_w = values[u], values[i], values[p] * sign * limits.phases
        q_var = f_hz = 0.0
        if limits.is_dc:
            i_a *= sign
        else:
            q, f = rest
            q_var, f_hz = values[q] * sign * limits.phases, values[f]
        recorded = dict(zip(limits.quantities, (u_v, i_a, p_w, q_var, f_hz), strict=True))
        if not math.isfinite(u_v + i_a + p_w + q_var + f_hz):
            # A dead line has a voltage, zero, and no frequency: only who asks for that is told.
            for function in limits.functions[:-1] if math.isnan(f_hz) else limits.functions:
                self._value(node, function, values)  # which says what is wrong
            recorded.popitem()
        self._voice.readings(recorded, update.window_s[1])
        return _Values(limits, update.window_s, u_v, i_a, p_w, q_var, f_hz)

    def _limits_at(self, node: str) -> _Limits:
        wiring, is_dc = self._wiring(node), _is_dc(node)

        def limit(of: points.Accuracy, range_: float) -> _Limit:
            return _Limit(rectangular(self._of_reading(of)), rectangular(range_ * of.of_range))

        zero_a = rectangular(_zero_a(wiring)) if is_dc else 0.0
        functions = ("UDC", "IDC", "P") if is_dc else ("URMS", "IRMS", "P", "Q", "FU")
        voltage = limit(points.DC_VOLTAGE if is_dc else points.AC_VOLTAGE, wiring.u_range_v)
        current = limit(points.DC_CURRENT if is_dc else points.AC_CURRENT, wiring.current_range_a)
        return _Limits(
            source=f"{self._voice.device}.{node}",
            quantities=tuple(f"{node}.{quantity}" for quantity in _QUANTITIES),
            functions=functions,
            places=tuple(self._items[node, function] for function in functions),
            is_dc=is_dc,
            sign=wiring.sign,
            phases=wiring.balanced_phases,
            conductors=len(wiring.elements) * wiring.balanced_phases,
            power_range_w=wiring.power_range_w,
            voltage=voltage,
            current=current,
            power=limit(points.DC_POWER if is_dc else points.AC_POWER, wiring.power_range_w),
            apparent=_Limit(
                voltage.of_reading + current.of_reading,
                rectangular((points.AC_VOLTAGE.of_range + points.AC_CURRENT.of_range) * wiring.power_range_w),
            ),
            zero_a=zero_a,
            zero_w=zero_a * wiring.u_range_v,
            sensor=rectangular(wiring.sensor_of_reading),
            power_factor=rectangular(points.POWER_FACTOR_OF_REACTIVE),
            frequency=rectangular(points.FREQUENCY_OF_READING),
        )


_QUANTITIES = ("voltage_v", "current_a", "power_w", "reactive_power_var", "frequency_hz")

_UNITS = {
    "voltage_v": "V",
    "current_a": "A",
    "power_w": "W",
    "reactive_power_var": "var",
    "frequency_hz": "Hz",
    "out_j": "J",
    "in_j": "J",
    "charge_out_c": "C",
    "charge_in_c": "C",
}


def _is_dc(node: str) -> bool:
    return node.endswith("_dc")


def _zero_a(wiring: Wiring) -> float:
    """Limit of a direct current's offset, in ampere of the conductor."""
    return points.DC_CURRENT_OFFSET_A[wiring.element_type] * wiring.ct_ratio


def _resolution(value: float, digits: int) -> float:
    """Standard uncertainty of the last digit that is sent."""
    if value == 0.0:
        return 0.0
    return rectangular(0.5 * 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1))
