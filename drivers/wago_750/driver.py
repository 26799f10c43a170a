"""Reads all contacts at once, drives outputs one by one, and keeps the coupler's own watchdog."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TypeVar

from drivers.wago_750 import points
from drivers.wago_750.options import Options
from harness.errors import DeviceFault, DeviceRefused, near_miss
from harness.readings import Reading, Voice
from harness.roles import Identity
from harness.wires import ModbusLine

T = TypeVar("T")


class Driver:
    """A coupler on a Modbus line (role ``safety_inputs``).

    Once its watchdog has run out the coupler refuses all of its inputs and outputs, which is ``DeviceFault``
    here, until the watchdog is armed or disarmed anew. Nothing comes on by that.
    """

    def __init__(self, name: str, wire: ModbusLine, options: Options, voice: Voice) -> None:
        self.name = name
        self._line = wire
        self._unit = options.unit
        self._inputs = dict(options.inputs)
        self._outputs = dict(options.outputs)
        self._voice = voice

    async def open(self) -> None:
        """Read the watchdog's state, which is answered also after it has run out."""
        await self._register(points.WATCHDOG_STATE)

    async def close(self) -> None:
        """Leave outputs and watchdog as they are."""

    async def identity(self) -> Identity:
        """Ask for series, item number and firmware."""
        asked = (points.SERIES, points.ITEM, points.MAJOR, points.MINOR, points.FIRMWARE_INDEX)
        series, item, major, minor, index = [await self._register(address) for address in asked]
        return Identity(points.MAKER, f"{series}-{item}", "", f"{major}.{minor} ({index})")

    async def inputs(self) -> Reading[Mapping[str, bool]]:
        """All inputs that the rig file names, in one exchange.

        Raises:
            DeviceFault: the watchdog has run out.
        """
        bits = await self._process(
            self._line.read_discrete_inputs(self._unit, points.INPUTS, points.CHANNELS)
        )
        named = {name: bits[channel - 1] for name, channel in self._inputs.items()}
        return self._voice.reading("inputs", named)

    async def outputs(self) -> Reading[Mapping[str, bool]]:
        """All outputs that the rig file names, in one exchange, as they are driven.

        Raises:
            DeviceFault: the watchdog has run out, and with it all outputs are off.
        """
        bits = await self._driven()
        return self._voice.reading(
            "outputs", {name: bits[channel - 1] for name, channel in self._outputs.items()}
        )

    async def set_output(self, output: str, *, is_on: bool) -> None:
        """Drive an output, and read back that it is driven.

        Raises:
            DeviceRefused: no such output; nothing is sent.
            DeviceFault: it reads back otherwise, or the watchdog has run out.
        """
        if output not in self._outputs:
            hint = near_miss(output, self._outputs)
            raise DeviceRefused(
                f"{self.name}: set_output({output!r}) refused before sending: "
                f"allowed {', '.join(self._outputs)}{hint}"
            )
        channel = self._outputs[output]
        self._voice.command("set_output", {output: is_on})
        await self._drive(channel, is_on=is_on)
        if (await self._driven())[channel - 1] is not is_on:
            raise DeviceFault(
                f"{self.name}: set_output({output!r}, is_on={is_on}) was answered and not done: output "
                f"{channel} reads back {'off' if is_on else 'on'}"
            )

    async def arm_watchdog(self, timeout_s: float) -> None:
        """Let the coupler drop all outputs after this time in which nobody looked at them or drove them.

        Reads of inputs and outputs and commands of outputs feed it; reads of registers do not. One that runs
        is stopped and started anew; after one that has run out all outputs stay off.

        Raises:
            DeviceRefused: no whole number of 0.1 s, or too long; nothing is sent.
            DeviceFault: it reads back otherwise.
        """
        steps = round(timeout_s / points.STEP_S)
        if not 1 <= steps <= points.LONGEST_STEPS or abs(steps * points.STEP_S - timeout_s) > 1e-6:
            raise DeviceRefused(
                f"{self.name}: arm_watchdog({timeout_s} s) refused before sending: allowed {points.STEP_S} "
                f"to {points.LONGEST_STEPS * points.STEP_S:.1f} s in steps of {points.STEP_S} s"
            )
        self._voice.command("arm_watchdog", timeout_s)
        await self._stop()
        settings = {
            points.WATCHDOG_TYPE: points.STANDARD,
            points.WATCHDOG_TIME: steps,
            points.WATCHDOG_MASK: points.FEEDING_MASK,
        }
        for address, value in settings.items():
            await self._write(address, value)
        before = await self._register(points.WATCHDOG_TRIGGER)
        await self._write(points.WATCHDOG_TRIGGER, 2 if before == 1 else 1)
        for address, value in {**settings, points.WATCHDOG_STATE: points.ACTIVE}.items():
            await self._check("arm_watchdog", address, value)

    async def feed_watchdog(self) -> None:
        """Look at the inputs, which feeds it.

        Raises:
            DeviceFault: it has run out, or is not armed.
        """
        await self.inputs()
        if await self._register(points.WATCHDOG_STATE) != points.ACTIVE:
            raise DeviceFault(f"{self.name}: feed_watchdog: no watchdog runs; arm it first")

    async def disarm_watchdog(self) -> None:
        """Stop the watchdog; the outputs stay. After one that has run out all of them are off, and stay off.

        Raises:
            DeviceFault: it still runs.
        """
        self._voice.command("disarm_watchdog")
        await self._stop()
        await self._check("disarm_watchdog", points.WATCHDOG_STATE, points.NOT_ACTIVE)

    async def is_watchdog_running(self) -> Reading[bool]:
        """Whether it runs; false once it has run out. Asking does not feed it."""
        state = await self._register(points.WATCHDOG_STATE)
        return self._voice.reading("is_watchdog_running", state == points.ACTIVE)

    async def _stop(self) -> None:
        """Stop the watchdog, and let nothing that it dropped come back."""
        has_run_out = await self._register(points.WATCHDOG_STATE) == points.EXHAUSTED
        await self._write(points.WATCHDOG_SIMPLE_STOP, points.STOP_WORD)
        if not has_run_out:
            return
        # No manual says whether the coupler still holds what was driven before.
        for channel, is_on in enumerate(await self._driven(), start=1):
            if is_on:
                await self._drive(channel, is_on=False)

    async def _driven(self) -> list[bool]:
        return await self._process(self._line.read_coils(self._unit, points.READ_BACK, points.CHANNELS))

    async def _drive(self, channel: int, *, is_on: bool) -> None:
        await self._process(self._line.write_coil(self._unit, points.OUTPUTS + channel - 1, is_on))

    async def _process(self, exchange: Awaitable[T]) -> T:
        """Exchange inputs or outputs; says so where the watchdog is why that was refused."""
        try:
            return await exchange
        except DeviceRefused as refused:
            if await self._register(points.WATCHDOG_STATE) == points.EXHAUSTED:
                raise DeviceFault(
                    f"{self.name}: its watchdog has run out and dropped all outputs ({refused}); arm or "
                    "disarm it to go on"
                ) from refused
            raise

    async def _register(self, address: int) -> int:
        """Read one register: the coupler gives no more of these at once."""
        (value,) = await self._line.read_holding(self._unit, address, 1)
        return value

    async def _write(self, address: int, value: int) -> None:
        await self._line.write_holding(self._unit, address, [value])

    async def _check(self, verb: str, address: int, expected: int) -> None:
        found = await self._register(address)
        if found != expected:
            raise DeviceFault(
                f"{self.name}: {verb} was answered and not done: register 0x{address:04X} reads back "
                f"0x{found:04X}; expected 0x{expected:04X}"
            )
