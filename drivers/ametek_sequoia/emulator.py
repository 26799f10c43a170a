"""A California Instruments source at the far end of a socket, whose output is the plant's grid.

It keeps the manual's traps: a phase's commands go to all three while ``INST:COUP ALL`` stands; unequal
lists are found at INIT; TRIG:STAT? says IDLE as soon as the last point has got where it goes, although its
dwell lasts on (Sequoia p. 142).

Not modelled: step and pulse mode, waveforms other than the sine, triggers from bus or input, start at a
phase angle, list repeats and counts, trigger-paced lists, current limit and protection, output delay of
0.1 s when the relay opens, phase angles other than a sequence of positive rotation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from drivers.ametek_sequoia import points
from drivers.ametek_sequoia.options import Options
from harness.clock import now_s
from harness.plant import RigPlant
from harness.plant.keyed import normal
from harness.roles import GridStep
from harness.wires import scpi
from harness.wires.scpi import Call, ScpiError

IDENTITY = "CALIFORNIA INSTRUMENTS,SEQUOIA,EMULATED,0.32"
MAX = 9.9e37
LISTS_UNEQUAL = ScpiError(-226, "Lists not same length")  # SCPI-99; the maker's own code is unverified
TOO_MUCH_DATA = ScpiError(-223, "Too much data")
INIT_IGNORED = ScpiError(-213, "Init ignored")
NOISE = 0.0001  # standard deviation of a measured voltage, a fraction; own figure, unverified
FASTEST_FREQUENCY_CHANGE_S = 0.0005  # own figure, unverified: the manual gives MAX no number

STAYS_S = 1e9
"""After its list the output stays at the last point (RS p. 149, whose figure on the same page disagrees)."""

FIX, LIST = "FIXed", "LIST"


@dataclass(slots=True)
class _Phase:
    """What is programmed for one phase."""

    volts: float
    degrees: float
    voltage_mode: str = FIX
    voltage_slew_mode: str = FIX
    function_mode: str = FIX
    phase_mode: str = FIX
    volts_list: list[float] = field(default_factory=lambda: [0.0])
    slew_list: list[float] = field(default_factory=lambda: [MAX])
    degrees_list: list[float] = field(default_factory=lambda: [0.0])
    shapes: int = 1


class Emulator:
    """Answers as the source does, and plays its lists on the plant's grid.

    Attributes:
        on_trigger: called with rig time when the edge leaves: at the list's start, or ``trigger_skew_s``
            later.
        frozen: measured values stay at what they were when it was set; commands still act.
        swapped_sign: without effect, since the source tells neither current nor power.
        silent: nothing is answered, and nothing done.
    """

    def __init__(self, name: str, plant: RigPlant, options: Options) -> None:
        self.name = name
        self.on_trigger: Callable[[float], None] | None = None
        self.frozen = False
        self.swapped_sign = False
        self.silent = False
        self._plant = plant
        self._options = options
        self._errors = scpi.ErrorQueue(
            empty=ScpiError(0, "No error"), overflow=ScpiError(-350, "Too Many Errors")
        )
        self._kept: dict[str, float] = {}
        self._counters: dict[str, int] = {}
        self._run = 0
        self._reset_settings()
        common = scpi.CommonCommands(lambda: IDENTITY, self._errors, self._reset)
        self._interpreter = scpi.ScpiInterpreter({**common.commands, **self._commands()}, self._errors)

    async def start(self) -> None:
        """Do nothing: it acts when it is spoken to."""

    async def stop(self) -> None:
        """Let a scheduled start lapse."""
        self._run += 1

    async def answer(self, message: bytes) -> bytes | None:
        """Take one message."""
        if self.silent:
            return None
        self._plant.advance(now_s())
        return await self._interpreter.answer(message)

    def _commands(self) -> dict[str, scpi.Handler]:
        source = "[:SOURce]"
        return {
            ":SYSTem:ERRor?": lambda _: str(self._errors.pop()),
            ":ABORt": lambda _: self._abort(),
            ":INITiate[:IMMediate][:TRANsient]": lambda _: self._initiate(),
            ":INSTrument:COUPle": self._couple,
            ":INSTrument:NSELect": self._select,
            ":OUTPut[:STATe]": self._relay,
            ":OUTPut[:STATe]?": lambda _: str(int(self._plant.grid.is_relay_closed)),
            ":OUTPut:TTLTrg[:STATe]": self._trigger_out,
            ":OUTPut:TTLTrg:SOURce": self._trigger_out_source,
            ":TRIGger[:TRANsient]:SOURce": lambda call: _only(call, "IMMediate"),
            ":TRIGger:TRANsient:SOURce": lambda call: _only(call, "IMMediate"),
            ":TRIGger:SYNChronize[:SOURce]": lambda call: _only(call, "IMMediate"),
            ":TRIGger:SYNC[:SOURce]": lambda call: _only(call, "IMMediate"),
            ":TRIGger:STATe?": lambda _: "BUSY" if now_s() < self._busy_until_s else points.IDLE,
            f"{source}:VOLTage[:LEVel][:IMMediate][:AMPlitude]": self._volts,
            f"{source}:VOLTage[:LEVel][:IMMediate][:AMPlitude]?": lambda _: f"{self._selected().volts:.3f}",
            f"{source}:VOLTage:RANGe?": lambda _: f"{self._options.voltage_range_v:.1f}",
            f"{source}:VOLTage:MODE": self._mode("voltage_mode"),
            f"{source}:VOLTage:SLEW:MODE": self._mode("voltage_slew_mode"),
            f"{source}:FUNCtion:MODE": self._mode("function_mode"),
            f"{source}:PHASe[:IMMediate]": self._degrees,
            f"{source}:PHASe[:IMMediate]?": lambda _: f"{self._selected().degrees:.1f}",
            f"{source}:PHASe:MODE": self._phase_mode,
            f"{source}:FREQuency[:CW][:IMMediate]": self._hertz,
            f"{source}:FREQuency[:CW][:IMMediate]?": lambda _: f"{self._frequency_hz:.3f}",
            f"{source}:FREQuency:MODE": self._frequency_mode_of("level"),
            f"{source}:FREQuency:SLEW:MODE": self._frequency_mode_of("slew"),
            f"{source}:CURRent[:LEVel][:IMMediate][:AMPlitude]": self._amps,
            f"{source}:CURRent[:LEVel][:IMMediate][:AMPlitude]?": lambda _: f"{self._current_limit_a:.2f}",
            f"{source}:LIST:STEP": lambda call: _only(call, "AUTO"),
            f"{source}:LIST:COUNt": lambda call: _no_answer(
                scpi.number(call.only(), minimum=1.0, maximum=1.0)
            ),
            f"{source}:LIST:REPeat[:COUNt]": lambda call: _no_answer(self._listed(call, 0.0, 0.0)),
            f"{source}:LIST:DWELl": self._dwells,
            f"{source}:LIST:FREQuency[:LEVel]": self._frequency_list,
            f"{source}:LIST:FREQuency:SLEW": self._frequency_slews,
            f"{source}:LIST:VOLTage[:LEVel]": self._volts_list,
            f"{source}:LIST:VOLTage:SLEW": self._voltage_slews,
            f"{source}:LIST:FUNCtion[:SHAPe]": self._shapes,
            **({f"{source}:LIST:PHASe": self._degrees_list} if self._options.phase_list else {}),
            ":MEASure[:SCALar]:VOLTage[:AC]?": lambda _: self._measured_voltage(),
            ":MEASure[:SCALar]:FREQuency?": lambda _: self._measured_frequency(),
        }

    def _reset_settings(self) -> None:
        nominal_v = self._plant.spec.grid.nominal_voltage_v
        self._phases = [_Phase(nominal_v, angle) for angle in self._options.phase_angles_deg]
        self._frequency_hz = self._plant.spec.grid.frequency_hz
        self._frequency_mode = {"level": FIX, "slew": FIX}
        self._current_limit_a = self._options.current_limit_a
        self._dwell_list = [1.0]
        self._hertz_list = [self._frequency_hz]
        self._hertz_slew_list = [MAX]
        self._is_coupled = True
        self._number = 1
        self._edge_leaves = False
        self._busy_until_s = -1.0

    def _reset(self) -> None:
        self._abort()
        self._plant.grid.open_relay()
        self._reset_settings()

    def _selected(self) -> _Phase:
        return self._phases[self._number - 1]

    def _addressed(self) -> Sequence[_Phase]:
        """Phases that a phase's command goes to."""
        return self._phases if self._is_coupled else (self._selected(),)

    def _couple(self, call: Call) -> None:
        self._is_coupled = scpi.choice(call.only(), "ALL", "NONE") == "ALL"

    def _select(self, call: Call) -> None:
        self._number = int(scpi.number(call.only(), minimum=1, maximum=3))

    def _amps(self, call: Call) -> None:
        self._current_limit_a = scpi.number(call.only(), unit="A", minimum=0.0, maximum=1e5)

    def _relay(self, call: Call) -> None:
        if scpi.boolean(call.only()):
            self._plant.grid.close_relay()
        else:
            self._plant.grid.open_relay()

    def _trigger_out(self, call: Call) -> None:
        self._edge_leaves = scpi.boolean(call.only())

    def _trigger_out_source(self, call: Call) -> None:
        _only(call, "BOT")

    def _mode(self, attribute: str) -> scpi.Handler:
        def set_mode(call: Call) -> None:
            mode = scpi.choice(call.only(), FIX, LIST)
            for phase in self._addressed():
                setattr(phase, attribute, mode)

        return set_mode

    def _phase_mode(self, call: Call) -> None:
        self._selected().phase_mode = scpi.choice(call.only(), FIX, LIST)

    def _frequency_mode_of(self, what: str) -> scpi.Handler:
        def set_mode(call: Call) -> None:
            self._frequency_mode[what] = scpi.choice(call.only(), FIX, LIST)

        return set_mode

    def _volts(self, call: Call) -> None:
        volts = scpi.number(call.only(), unit="V", minimum=0.0, maximum=self._options.voltage_range_v)
        for phase in self._addressed():
            phase.volts = volts
        if now_s() >= self._busy_until_s:
            self._apply_immediate()

    def _degrees(self, call: Call) -> None:
        low, high = points.PHASE.low, points.PHASE.high
        self._selected().degrees = scpi.number(call.only(), unit="DEG", minimum=low, maximum=high)

    def _hertz(self, call: Call) -> None:
        low, high = points.FREQUENCY.low, points.FREQUENCY.high
        self._frequency_hz = scpi.number(call.only(), unit="HZ", minimum=low, maximum=high)
        if now_s() >= self._busy_until_s:
            self._apply_immediate()

    def _listed(
        self, call: Call, low: float, high: float, unit: str = "", most: float | None = None
    ) -> list[float]:
        """Read a list; MAX stands for ``most`` where there is one."""
        if not call.arguments:
            raise scpi.MISSING_PARAMETER
        if len(call.arguments) > self._options.max_points:
            raise TOO_MUCH_DATA
        return [
            most
            if most is not None and argument.upper() in {"MAX", "MAXIMUM"}
            else scpi.number(argument, unit=unit, minimum=low, maximum=high)
            for argument in call.arguments
        ]

    def _dwells(self, call: Call) -> None:
        self._dwell_list = self._listed(call, points.DWELL.low, points.DWELL.high, "S")

    def _frequency_list(self, call: Call) -> None:
        self._hertz_list = self._listed(call, points.FREQUENCY.low, points.FREQUENCY.high, "HZ")

    def _frequency_slews(self, call: Call) -> None:
        self._hertz_slew_list = self._listed(call, 0.0, MAX, most=MAX)

    def _volts_list(self, call: Call) -> None:
        values = self._listed(call, 0.0, self._options.voltage_range_v, "V")
        for phase in self._addressed():
            phase.volts_list = list(values)

    def _voltage_slews(self, call: Call) -> None:
        values = self._listed(call, 0.0, MAX, most=MAX)
        for phase in self._addressed():
            phase.slew_list = list(values)

    def _degrees_list(self, call: Call) -> None:
        self._selected().degrees_list = self._listed(call, points.PHASE.low, points.PHASE.high, "DEG")

    def _shapes(self, call: Call) -> None:
        for argument in call.arguments:
            scpi.choice(argument, "SINE")
        for phase in self._addressed():
            phase.shapes = len(call.arguments)

    def _apply_immediate(self) -> None:
        first, second, third = (phase.volts * self._options.output_ratio for phase in self._phases)
        self._plant.grid.set_voltage_v((first, second, third))
        self._plant.grid.set_frequency_hz(self._frequency_hz)
        self._plant.grid.stop()

    def _abort(self) -> None:
        self._run += 1
        self._busy_until_s = -1.0
        self._apply_immediate()

    def _initiate(self) -> None:
        if now_s() < self._busy_until_s:
            raise INIT_IGNORED
        lengths = set(self._active_lengths()) - {1}
        if len(lengths) > 1:
            raise LISTS_UNEQUAL
        if not self._is_any_list():
            return
        # Of the plant's present: on the wall clock time has gone on since the message came.
        starts_s = self._plant.now_s + self._options.trigger_latency_s
        edge_s = starts_s + self._options.trigger_skew_s
        steps, busy_s = self._steps(max(lengths, default=1))
        self._busy_until_s = starts_s + busy_s
        self._run += 1
        run = self._run

        def begin() -> None:
            if run == self._run:
                self._plant.grid.play(steps)

        def edge() -> None:
            if run == self._run:
                self._plant.advance(edge_s)
                if self._edge_leaves and self.on_trigger is not None:
                    self.on_trigger(edge_s)

        if starts_s <= self._plant.now_s:
            begin()
        else:
            self._plant.at(starts_s, begin)
        self._send_at(edge_s, edge)

    def _send_at(self, due_s: float, edge: Callable[[], None]) -> None:
        """Let an edge leave at its time, although nobody looks at the plant then."""
        if due_s <= self._plant.now_s:
            edge()
        else:
            asyncio.get_running_loop().call_at(due_s, edge)

    def _is_any_list(self) -> bool:
        modes = [self._frequency_mode["level"], *(phase.voltage_mode for phase in self._phases)]
        return LIST in [*modes, *(phase.phase_mode for phase in self._phases)]

    def _active_lengths(self) -> list[int]:
        """Lengths of all lists that take part; the dwells always do (Sequoia p. 92)."""
        lengths = [len(self._dwell_list)]
        if self._frequency_mode["level"] == LIST:
            lengths.append(len(self._hertz_list))
        if self._frequency_mode["slew"] == LIST:
            lengths.append(len(self._hertz_slew_list))
        for phase in self._phases:
            lengths += [
                length
                for mode, length in (
                    (phase.voltage_mode, len(phase.volts_list)),
                    (phase.voltage_slew_mode, len(phase.slew_list)),
                    (phase.function_mode, phase.shapes),
                    (phase.phase_mode, len(phase.degrees_list)),
                )
                if mode == LIST
            ]
        return lengths

    def _steps(self, count: int) -> tuple[list[GridStep], float]:
        """Turn the lists into steps of linear pieces, and how long the trigger system says BUSY."""
        nominal_v = self._plant.spec.grid.nominal_voltage_v / self._options.output_ratio
        fastest_v_per_s = (
            self._options.voltage_slew_v_per_us * 1e6 / 2.0**0.5
        )  # of the peak, hence of the RMS
        levels = [*(phase.volts for phase in self._phases), self._frequency_hz]
        degrees = self._phases[0].degrees
        steps: list[GridStep] = []
        ends_s = busy_s = 0.0
        for index in range(count):
            dwell_s = _at(self._dwell_list, index)
            targets = list(levels)
            slews = [fastest_v_per_s] * 3 + [MAX]
            for number, phase in enumerate(self._phases):
                if phase.voltage_mode == LIST:
                    targets[number] = _at(phase.volts_list, index)
                if phase.voltage_slew_mode == LIST:
                    slews[number] = min(_at(phase.slew_list, index), fastest_v_per_s)
            if self._frequency_mode["level"] == LIST:
                targets[3] = _at(self._hertz_list, index)
            if self._frequency_mode["slew"] == LIST:
                slews[3] = _at(self._hertz_slew_list, index)
            reach_s = [
                _reach_s(level, target, slew, dwell_s)
                for level, target, slew in zip(levels, targets, slews, strict=True)
            ]
            jump_deg = 0.0
            if self._phases[0].phase_mode == LIST:
                jump_deg, degrees = (
                    _at(self._phases[0].degrees_list, index) - degrees,
                    _at(self._phases[0].degrees_list, index),
                )
            angle_deg = self._angles_deg(index)
            begin, before_s = levels, 0.0
            for until_s in sorted({min(time_s, dwell_s) for time_s in reach_s if time_s > 0.0} | {dwell_s}):
                last = levels
                levels = [
                    target if until_s >= time_s else start + (target - start) * until_s / time_s
                    for start, target, time_s in zip(begin, targets, reach_s, strict=True)
                ]
                first, second, third = (volts / nominal_v for volts in levels[:3])
                steps.append(
                    GridStep(
                        duration_s=until_s - before_s,
                        voltage_pu=(first, second, third),
                        frequency_hz=levels[3],
                        is_ramp=levels != last,
                        phase_jump_deg=jump_deg,
                        angle_deg=angle_deg,
                    )
                )
                before_s, jump_deg = until_s, 0.0
            busy_s = ends_s + min(max(reach_s), dwell_s)
            ends_s += dwell_s
        return [*steps, replace(steps[-1], duration_s=STAYS_S, is_ramp=False, phase_jump_deg=0.0)], busy_s

    def _angles_deg(self, index: int) -> tuple[float, float, float]:
        """By how much phases 2 and 3 lead their places behind phase 1 at a point of their lists."""
        second, third = (
            _at(phase.degrees_list, index) - base_deg if phase.phase_mode == LIST else 0.0
            for phase, base_deg in zip(self._phases[1:], self._options.phase_angles_deg[1:], strict=True)
        )
        return (0.0, second, third)

    def _measured_voltage(self) -> str:
        number = self._number
        seen = (1.0 + NOISE * self._draw(f"u{number}")) / self._options.output_ratio
        return f"{self._telemetry(f'u{number}', lambda: self._plant.grid.voltage_v(number) * seen):.3f}"

    def _measured_frequency(self) -> str:
        return f"{self._telemetry('f', lambda: self._plant.grid.frequency_hz):.3f}"

    def _telemetry(self, quantity: str, measure: Callable[[], float]) -> float:
        if not (self.frozen and quantity in self._kept):
            self._kept[quantity] = measure()
        return self._kept[quantity]

    def _draw(self, quantity: str) -> float:
        """Draw from a normal distribution, the same for the same seed, device, quantity and count."""
        count = self._counters[quantity] = self._counters.get(quantity, 0) + 1
        return normal(self._plant.spec.seed, f"{self.name}.{quantity}", count)


def _reach_s(level: float, target: float, slew: float, dwell_s: float) -> float:
    """How long a level takes to its target; beyond ``dwell_s`` where the dwell cuts it short."""
    if level == target:
        return 0.0
    if slew >= MAX:
        return min(FASTEST_FREQUENCY_CHANGE_S, dwell_s)
    needed_s = abs(target - level) / slew if slew > 0.0 else float("inf")
    # A slew of six digits ends within 1e-5 of its dwell: the machine's own resolution is no better.
    return dwell_s if abs(needed_s - dwell_s) <= 1e-5 * dwell_s else needed_s


def _at(values: Sequence[float], index: int) -> float:
    """Take a list's point; a list of one stands for all."""
    return values[0] if len(values) == 1 else values[index]


def _only(call: Call, word: str) -> None:
    scpi.choice(call.only(), word)


def _no_answer(_: object) -> None:
    return None
