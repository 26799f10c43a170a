"""Turns grid profiles into lists that a California Instruments source plays on its own clock."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from drivers.ametek_sequoia import points
from drivers.ametek_sequoia.options import Options
from harness.errors import DeviceFault, DeviceRefused, PreconditionFailed
from harness.readings import Reading, Voice
from harness.roles import GridStep, Identity
from harness.wires import VisaLine
from harness.wires.scpi_talk import ScpiTalk


@dataclass(frozen=True, slots=True)
class ListPoint:
    """One point of all lists at once: targets, and the slews that lead there (None: the fastest).

    Angles are as the machine takes them: phase 1's own, those of phases 2 and 3 relative to it.
    """

    dwell_s: float
    voltage_v: tuple[float, float, float]
    voltage_slew_v_per_s: tuple[float | None, float | None, float | None]
    frequency_hz: float
    frequency_slew_hz_per_s: float | None
    phase_deg: tuple[float, float, float]


class Driver:
    """A California Instruments source in the role of the grid.

    Every command is followed by a look at the error queue.
    """

    def __init__(self, name: str, wire: VisaLine, options: Options, voice: Voice) -> None:
        self.name = name
        self._talk = ScpiTalk(name, wire, points.ERROR)
        self._options = options
        self._current_limit_a = options.current_limit_a
        self._voice = voice
        self._listed_phases: tuple[int, ...] = (1,) if options.phase_list else ()

    async def open(self) -> None:
        """Clear the error queue and compare the voltage range with the rig file.

        Raises:
            PreconditionFailed: the machine stands in another range. It is not switched here, since
                that opens the relay (Sequoia p. 109).
        """
        await self._talk.command(points.CLEAR)
        stands_v = await self._talk.number(points.VOLTAGE_RANGE)
        if stands_v != self._options.voltage_range_v:
            raise PreconditionFailed(
                f"{self.name}: its output range is {stands_v:g} V and the rig file says"
                f" {self._options.voltage_range_v:g} V; switch the range with the output off"
            )

    async def close(self) -> None:
        """Do nothing: over a socket the machine is in local control whenever nobody speaks to it."""

    async def identity(self) -> Identity:
        """Ask for maker, model, serial number and firmware."""
        return await self._talk.identity()

    async def nominal_voltage_v(self) -> float:
        """Line-to-neutral voltage of one per unit, from the rig file."""
        return self._options.nominal_voltage_v

    async def set_voltage_v(self, voltage_v: float) -> None:
        """Set the immediate level of all phases."""
        self._check_voltage("set_voltage_v", voltage_v)
        self._voice.command("set_voltage_v", voltage_v)
        await self._talk.command(points.VOLTAGE.format(volts=voltage_v))

    async def set_frequency_hz(self, frequency_hz: float) -> None:
        """Set the immediate frequency."""
        self._check_frequency("set_frequency_hz", frequency_hz)
        self._voice.command("set_frequency_hz", frequency_hz)
        await self._talk.command(points.FREQUENCY_SET.format(hertz=frequency_hz))

    async def voltage_v(self, phase: int) -> Reading[float]:
        """RMS voltage of one phase, as the machine measures it at its terminals or sense leads."""
        if phase not in points.PHASES:
            raise DeviceRefused(f"{self.name}: voltage_v(phase={phase}): 1 to 3 is allowed")
        value = await self._talk.number(points.MEASURED_VOLTAGE.format(phase=phase))
        return self._voice.reading(f"u{phase}_v", value)

    async def frequency_hz(self) -> Reading[float]:
        """Frequency that the machine measures."""
        return self._voice.reading("frequency_hz", await self._talk.number(points.MEASURED_FREQUENCY))

    async def set_current_limit_a(self, current_a: float) -> None:
        """Set the limit of all phases, never above the rig file's own; it holds for every ``turn_on``."""
        if not current_a > 0.0:
            raise DeviceRefused(f"{self.name}: set_current_limit_a({current_a}): above 0 A is allowed")
        self._current_limit_a = min(current_a, self._options.current_limit_a)
        self._voice.command("set_current_limit_a", self._current_limit_a)
        await self._talk.command(points.CURRENT_LIMIT.format(amps=self._current_limit_a))
        held = (await self.current_limit_a()).value
        # The machine is told, and answers, in hundredths of an ampere.
        if held > self._current_limit_a + 0.005:
            raise DeviceFault(
                f"{self.name}: the current limit reads back {held:g} A; {self._current_limit_a:g} A was set"
            )

    async def current_limit_a(self) -> Reading[float]:
        """The limit of phase 1; all three are set together."""
        return self._voice.reading("current_limit_a", await self._talk.number(points.CURRENT_LIMIT_SET))

    async def turn_on(self) -> None:
        """Set the current limit and the phase angles, then close the relay."""
        self._voice.command("turn_on")
        angles = enumerate(self._options.phase_angles_deg, start=1)
        await self._talk.command(
            points.CURRENT_LIMIT.format(amps=self._current_limit_a),
            *(points.PHASE_ANGLE.format(phase=phase, degrees=angle) for phase, angle in angles),
        )
        await self._talk.command(points.RELAY_ON)

    async def turn_off(self) -> None:
        """Abort what plays and open the relay; the machine first brings the voltage to zero."""
        self._voice.command("turn_off")
        await self._talk.command(points.RELAY_OFF)

    async def is_on(self) -> Reading[bool]:
        """Whether the relay is closed."""
        return self._voice.reading("is_on", await self._talk.word(points.RELAY, {"0", "1"}) == "1")

    async def load_profile(self, steps: Sequence[GridStep]) -> None:
        """Check the whole profile, then hand it over as lists; a running one is aborted.

        The ends of the steps are moved to the machine's grid of 1 ms, each by at most half of it.
        """
        self._check_profile(steps)
        if steps[0].is_ramp:
            before_v = [
                await self._talk.number(points.VOLTAGE_SETPOINT.format(phase=phase))
                for phase in points.PHASES
            ]
            before_hz = await self._talk.number(points.FREQUENCY_SETPOINT)
        else:  # a jump does not care where it starts
            before_v = [self._options.nominal_voltage_v] * 3
            before_hz = steps[0].frequency_hz
        list_points = self._list_points(steps, _three(before_v), before_hz)
        listed: tuple[int, ...] = (1,) if self._options.phase_list else ()
        if any(any(step.angle_deg) for step in steps):
            listed = points.PHASES
        self._voice.command("load_profile", tuple(steps))
        await self._talk.command(points.ABORT, *points.LIST_SOURCE)
        await self._talk.command(
            points.LIST_MODES,
            *(points.LIST_MODES_OF_PHASE.format(phase=phase) for phase in points.PHASES),
            *(points.LIST_PHASE_MODE.format(phase=phase) for phase in listed),
        )
        self._listed_phases = listed
        for messages in list_messages(list_points, listed):
            await self._talk.command(*messages)
        await self._talk.command(*points.LIST_START)

    async def start_profile(self) -> None:
        """Trigger the lists. The machine finds only now whether all of them have the same length."""
        self._voice.command("start_profile")
        await self._talk.command(points.START)

    async def is_profile_running(self) -> Reading[bool]:
        """Whether the trigger system is anything but idle (firmware 0.31 and older says ARM for ever)."""
        state = await self._talk.word(points.TRIGGER_STATE, {points.IDLE, *points.RUNNING_STATES})
        return self._voice.reading("is_profile_running", state != points.IDLE)

    async def stop_profile(self) -> None:
        """Abort, and leave list mode: in fixed mode the output is at the immediate level (RS p. 149)."""
        self._voice.command("stop_profile")
        phase_modes = (points.FIXED_PHASE_MODE.format(phase=phase) for phase in self._listed_phases)
        await self._talk.command(points.ABORT, points.FIXED_MODES, *phase_modes)

    def _check_voltage(self, command: str, voltage_v: float) -> None:
        allowed = points.Range(0.0, self._options.max_voltage_v, "V")
        if voltage_v not in allowed:
            raise DeviceRefused(f"{self.name}: {command}: {voltage_v:g} V; {allowed} is allowed")

    def _check_frequency(self, command: str, frequency_hz: float) -> None:
        if frequency_hz not in points.FREQUENCY:
            raise DeviceRefused(f"{self.name}: {command}: {frequency_hz:g} Hz; {points.FREQUENCY} is allowed")

    def _check_profile(self, steps: Sequence[GridStep]) -> None:
        most = self._options.max_points - 1  # the last point only holds the state at BUSY
        if not 1 <= len(steps) <= most:
            raise DeviceRefused(
                f"{self.name}: load_profile: {len(steps)} steps; 1 to {most} are allowed"
                " (max_points less one)"
            )
        before_deg = (0.0, 0.0, 0.0)
        for number, step in enumerate(steps, start=1):
            command = f"load_profile: step {number}"
            if step.duration_s not in points.DWELL:
                raise DeviceRefused(
                    f"{self.name}: {command}: {step.duration_s:g} s; {points.DWELL} is allowed"
                )
            for level_pu in step.voltage_pu:
                self._check_voltage(command, level_pu * self._options.nominal_voltage_v)
            self._check_frequency(command, step.frequency_hz)
            if step.phase_jump_deg and not self._options.phase_list:
                raise DeviceRefused(
                    f"{self.name}: {command}: a phase jump of {step.phase_jump_deg:g} deg; the manual knows"
                    " no LIST:PHASe; 0 is allowed, or phase_list = true in the rig file where the"
                    " firmware has it"
                )
            self._check_angles(command, step, before_deg)
            before_deg = step.angle_deg
            if step.phase_jump_deg not in points.PHASE:
                raise DeviceRefused(
                    f"{self.name}: {command}: a phase jump of {step.phase_jump_deg:g} deg;"
                    f" {points.PHASE} is allowed"
                )

    def _check_angles(self, command: str, step: GridStep, before_deg: tuple[float, float, float]) -> None:
        if any(step.angle_deg) and not self._options.phase_list:
            raise DeviceRefused(
                f"{self.name}: {command}: angles of {step.angle_deg} deg; the manual knows no LIST:PHASe;"
                " zeros are allowed, or phase_list = true in the rig file where the firmware has it"
            )
        # Of phases 2 and 3 to the first, on top of a base of up to 240 degrees.
        if not all(abs(angle) <= 60.0 for angle in step.angle_deg):
            raise DeviceRefused(
                f"{self.name}: {command}: angles of {step.angle_deg} deg; -60 to 60 deg is allowed"
            )
        if step.angle_deg != before_deg and step.is_ramp:
            raise DeviceRefused(
                f"{self.name}: {command}: a ramp from angles of {before_deg} to {step.angle_deg} deg; the"
                " machine has no slew of the angle: the same angles are allowed, or a step that jumps"
            )
        if step.starts_at_deg is not None:
            raise DeviceRefused(
                f"{self.name}: {command}: a start at {step.starts_at_deg:g} deg; its lists wait for no phase"
                " angle (Sequoia p. 167): None is allowed"
            )

    def _list_points(
        self, steps: Sequence[GridStep], voltage_v: tuple[float, float, float], frequency_hz: float
    ) -> list[ListPoint]:
        """One point a step and the short last one; ``voltage_v`` and ``frequency_hz`` stand before."""
        nominal_v = self._options.nominal_voltage_v
        found: list[ListPoint] = []
        base_deg = self._options.phase_angles_deg
        asked_end_s = end_s = phase_deg = 0.0
        angles_deg = (0.0, base_deg[1], base_deg[2])
        for number, step in enumerate(steps, start=1):
            asked_end_s += step.duration_s
            dwell_s = max(_on_grid(asked_end_s) - end_s, points.DWELL.low)
            end_s += dwell_s
            targets_v = _three([level_pu * nominal_v for level_pu in step.voltage_pu])
            slews: list[float | None] = [None, None, None]
            frequency_slew = None
            if step.is_ramp:
                slews = [
                    abs(target - before) / dwell_s or None
                    for target, before in zip(targets_v, voltage_v, strict=True)
                ]
                frequency_slew = abs(step.frequency_hz - frequency_hz) / dwell_s or None
            self._check_slews(number, slews, frequency_slew)
            phase_deg = math.remainder(phase_deg + step.phase_jump_deg, 360.0)
            lead1, lead2, lead3 = step.angle_deg
            angles_deg = (
                math.remainder(phase_deg + lead1, 360.0),
                base_deg[1] + lead2 - lead1,
                base_deg[2] + lead3 - lead1,
            )
            voltage_v, frequency_hz = targets_v, step.frequency_hz
            found.append(
                ListPoint(
                    dwell_s,
                    targets_v,
                    (slews[0], slews[1], slews[2]),
                    frequency_hz,
                    frequency_slew,
                    angles_deg,
                )
            )
        return [*found, ListPoint(points.HOLD_S, voltage_v, (None,) * 3, frequency_hz, None, angles_deg)]

    def _check_slews(
        self, number: int, voltage_slews: Sequence[float | None], frequency_slew: float | None
    ) -> None:
        allowed = points.Range(
            points.SHORTEST_VOLTAGE_SLEW_V_PER_S, self._options.voltage_slew_v_per_us * 1e6, "V/s"
        )
        for slew in voltage_slews:
            if slew is not None and slew not in allowed:
                raise DeviceRefused(
                    f"{self.name}: load_profile: step {number}: {slew:g} V/s; {allowed} is allowed"
                )
        if frequency_slew is not None and frequency_slew not in points.FREQUENCY_SLEW:
            raise DeviceRefused(
                f"{self.name}: load_profile: step {number}: {frequency_slew:g} Hz/s;"
                f" {points.FREQUENCY_SLEW} is allowed"
            )


def _on_grid(time_s: float) -> float:
    return round(time_s / points.DWELL_STEP_S) * points.DWELL_STEP_S


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    first, second, third = values
    return first, second, third


def _joined(values: Iterable[float]) -> str:
    return ",".join(f"{value:.3f}" for value in values)


def _slew(value: float | None) -> str:
    """Six digits: a ramp ends within 1e-6 of its height; MAX is the machine's own fastest."""
    return "MAX" if value is None else f"{value:.6g}"


def list_messages(list_points: Sequence[ListPoint], phases_with_angles: Sequence[int]) -> list[list[str]]:
    """Groups of messages that carry the lists, all of one length.

    ``INST:COUP NONE`` must stand when they are sent: coupled, a phase's list would go to all three.
    """
    shared = [
        f":list:dwel {_joined(point.dwell_s for point in list_points)}",
        f":list:freq {_joined(point.frequency_hz for point in list_points)}",
        f":list:freq:slew {','.join(_slew(point.frequency_slew_hz_per_s) for point in list_points)}",
    ]
    groups = [shared]
    for index, phase in enumerate(points.PHASES):
        volts = _joined(point.voltage_v[index] for point in list_points)
        slews = ",".join(_slew(point.voltage_slew_v_per_s[index]) for point in list_points)
        groups.append(
            [
                f":inst:nsel {phase};:list:volt {volts}",
                f":list:volt:slew {slews}",
                f":list:func {','.join('SINE' for _ in list_points)}",
            ]
        )
    for phase in phases_with_angles:
        angles = ",".join(f"{point.phase_deg[phase - 1]:.1f}" for point in list_points)
        groups.append([f":inst:nsel {phase};:list:phas {angles}"])
    groups.append([f":list:rep {','.join('0' for _ in list_points)}"])
    return groups
