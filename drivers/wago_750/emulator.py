"""A coupler whose outputs do to the rig what ``on_output`` says, and whose watchdog runs in rig time.

Ours, where no manual says it: after the watchdog has run out inputs and outputs are refused, registers are
not; outputs that it dropped stay off; registers that are not to be written are refused as an illegal value.

Not modelled: the modules' filters of 0.2 to 3 ms and the cycle of the local bus, the alternative watchdog,
closing of sockets, saved settings, functions 7, 11, 22 and 23, the modules' diagnosis.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from drivers.wago_750 import points
from drivers.wago_750.options import Options
from harness.clock import now_s
from harness.errors import ConfigurationError
from harness.wires import ModbusRefusal, Refusal, Table

if TYPE_CHECKING:
    from harness.plant import RigPlant

IDENTITY = {
    points.FIRMWARE_INDEX: 3,
    points.SERIES: 750,
    points.ITEM: 352,
    points.MAJOR: 1,
    points.MINOR: 4,
}

STOP_WORDS = (0x55AA, 0xAA55)


def _connected_to_nothing(output: str, is_on: bool) -> None:
    """Take a change of an output that has nothing behind it."""


class Emulator:
    """Eight inputs, eight outputs and the watchdog (``wires.ModbusUnit``). Inputs start well, outputs off.

    Attributes:
        on_output: is told each change of a named output, also the watchdog's.
        on_input: is told each contact that ``set_input`` opens or closes.
        feedback: inputs that follow something, by name; asked with the plant at the present.
        frozen: inputs and outputs read as they were when that began; commands and watchdog still act.
        jammed: commands of outputs are answered and do not act; the watchdog still does.
        swapped_sign: acts on nothing: a contact has no sign.
        silent: no answers, and nothing done; the watchdog runs on.
    """

    def __init__(self, name: str, plant: RigPlant, options: Options) -> None:
        self.name = name
        self.options = options
        self.on_output: Callable[[str, bool], None] = _connected_to_nothing
        self.on_input: Callable[[str, bool], None] = _connected_to_nothing
        self.feedback: dict[str, Callable[[], bool]] = {}
        self.frozen = False
        self.jammed = False
        self.swapped_sign = False
        self.silent = False
        self._plant = plant
        self._inputs = [channel in options.inputs.values() for channel in range(1, points.CHANNELS + 1)]
        self._outputs = [False] * points.CHANNELS
        self._sample: tuple[bool, ...] | None = None
        self._registers = {
            **IDENTITY,
            points.WATCHDOG_TIME: 100,
            points.WATCHDOG_MASK: 0xFFFF,
            points.WATCHDOG_MASK_ABOVE_16: 0xFFFF,
            points.WATCHDOG_TRIGGER: 0,
            points.WATCHDOG_LEAST: 0xFFFF,
            points.WATCHDOG_STOP: 0,
            points.WATCHDOG_STATE: points.NOT_ACTIVE,
            points.WATCHDOG_RESTART: 0,
            points.WATCHDOG_SIMPLE_STOP: 0,
            points.CLOSE_SOCKET: 0,
            points.WATCHDOG_TYPE: points.STANDARD,
        }
        self._runs_out_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def outputs(self) -> dict[str, bool]:
        """What is driven, by name."""
        return {name: self._outputs[channel - 1] for name, channel in self.options.outputs.items()}

    async def start(self) -> None:
        """Do nothing: a coupler does nothing by itself until its watchdog is started."""

    async def stop(self) -> None:
        """Stop the watchdog's clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def enable(self) -> None:
        """Stand with all named outputs on, and tell nobody: the state that a virtual rig begins in."""
        for channel in self.options.outputs.values():
            self._outputs[channel - 1] = True

    def set_input(self, name: str, value: bool) -> None:
        """Let a contact open or close.

        Raises:
            ConfigurationError: no such input, or one that follows something.
        """
        if name not in self.options.inputs or name in self.feedback:
            free = ", ".join(each for each in self.options.inputs if each not in self.feedback)
            raise ConfigurationError(f"{self.name}: set_input({name!r}): allowed {free}")
        self._inputs[self.options.inputs[name] - 1] = value
        self.on_input(name, value)

    def read(self, table: Table, address: int, count: int) -> list[int]:
        """Answer bits (functions 1 and 2) and single registers (3 and 4)."""
        self._check_voice()
        if table in {Table.HOLDING, Table.INPUT}:
            if count != 1 or address not in self._registers:
                raise ModbusRefusal(Refusal.ILLEGAL_ADDRESS)
            self._feed(3 if table is Table.HOLDING else 4)
            return [self._registers[address]]
        self._check_watchdog()
        bits = self._bits()
        for first, image in (
            (points.INPUTS, bits[: points.CHANNELS]),
            (points.READ_BACK, bits[points.CHANNELS :]),
        ):
            if first <= address < address + count <= first + points.CHANNELS:
                self._feed(1 if table is Table.COILS else 2)
                return [int(bit) for bit in image[address - first : address - first + count]]
        raise ModbusRefusal(Refusal.ILLEGAL_ADDRESS)

    def write(self, table: Table, address: int, values: Sequence[int]) -> None:
        """Drive outputs (functions 5 and 15), or write one register (6 and 16)."""
        self._check_voice()
        if table is Table.HOLDING:
            if len(values) != 1 or address not in self._registers:
                raise ModbusRefusal(Refusal.ILLEGAL_ADDRESS)
            self._write_register(address, values[0])
            self._feed(6)
            return
        self._check_watchdog()
        for first in (points.OUTPUTS, points.READ_BACK):
            if first <= address < address + len(values) <= first + points.CHANNELS:
                self._feed(5 if len(values) == 1 else 15)
                if not self.jammed:
                    self._drive({address - first + place: bool(value) for place, value in enumerate(values)})
                return
        raise ModbusRefusal(Refusal.ILLEGAL_ADDRESS)

    def _check_voice(self) -> None:
        if self.silent:
            raise TimeoutError(f"{self.name} is silent")

    def _check_watchdog(self) -> None:
        if self._registers[points.WATCHDOG_STATE] == points.EXHAUSTED:
            raise ModbusRefusal(Refusal.DEVICE_FAILURE)

    def _bits(self) -> tuple[bool, ...]:
        """Inputs and outputs at the present, or as they were."""
        if self._sample is None or not self.frozen:
            self._plant.advance(now_s())
            for name, is_closed in self.feedback.items():
                self._inputs[self.options.inputs[name] - 1] = is_closed()
            self._sample = (*self._inputs, *self._outputs)
        return self._sample

    def _drive(self, places: dict[int, bool]) -> None:
        """Drive outputs by their places from 0, and tell of those that change."""
        changed = {place: is_on for place, is_on in places.items() if self._outputs[place] != is_on}
        if not changed:
            return
        # What an output does happens at the present, not at the plant's last stop.
        self._plant.advance(now_s())
        for place, is_on in changed.items():
            self._outputs[place] = is_on
        for name, channel in self.options.outputs.items():
            if channel - 1 in changed:
                self.on_output(name, changed[channel - 1])

    def _write_register(self, address: int, value: int) -> None:
        registers, state = self._registers, self._registers[points.WATCHDOG_STATE]
        refused = {
            points.WATCHDOG_TIME: state == points.ACTIVE,
            points.WATCHDOG_MASK: state == points.ACTIVE,
            points.WATCHDOG_MASK_ABOVE_16: True,
            points.WATCHDOG_LEAST: value == 0,
            points.WATCHDOG_STATE: True,
            points.CLOSE_SOCKET: value != 0,
            points.WATCHDOG_TYPE: value != points.STANDARD,
        }
        if address in IDENTITY or refused.get(address, False):
            raise ModbusRefusal(Refusal.ILLEGAL_VALUE)
        before, registers[address] = registers[address], value
        if address == points.WATCHDOG_TRIGGER and value != before:
            if state == points.ACTIVE or value != 0:
                self._run()
        elif address == points.WATCHDOG_RESTART and value == 1:
            if state != points.NOT_ACTIVE:
                self._run()
        elif (address == points.WATCHDOG_STOP and (before, value) == (0xAAAA, 0x5555)) or (
            address == points.WATCHDOG_SIMPLE_STOP and value in STOP_WORDS
        ):
            registers[points.WATCHDOG_STATE] = points.NOT_ACTIVE

    def _feed(self, function: int) -> None:
        if self._registers[points.WATCHDOG_STATE] == points.ACTIVE and (
            self._registers[points.WATCHDOG_MASK] >> function - 1 & 1
        ):
            rest = int((self._runs_out_s - now_s()) / points.STEP_S)
            self._registers[points.WATCHDOG_LEAST] = min(self._registers[points.WATCHDOG_LEAST], rest)
            self._run()

    def _run(self) -> None:
        """Start the watchdog, or give it its whole time again."""
        steps = self._registers[points.WATCHDOG_TIME]
        if steps == 0:
            return
        self._registers[points.WATCHDOG_STATE] = points.ACTIVE
        self._runs_out_s = now_s() + steps * points.STEP_S
        if self._timer is not None and self._timer.when() > self._runs_out_s:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:  # one that is due earlier looks again by itself: feeding costs no timer
            self._timer = asyncio.get_running_loop().call_at(self._runs_out_s, self._due)

    def _due(self) -> None:
        """Run out, unless it was fed or stopped since the timer was set."""
        self._timer = None
        if self._registers[points.WATCHDOG_STATE] != points.ACTIVE:
            return
        if now_s() < self._runs_out_s:
            self._timer = asyncio.get_running_loop().call_at(self._runs_out_s, self._due)
            return
        self._registers[points.WATCHDOG_STATE] = points.EXHAUSTED
        self._registers[points.WATCHDOG_LEAST] = 0
        self._drive(dict.fromkeys(range(points.CHANNELS), False))
