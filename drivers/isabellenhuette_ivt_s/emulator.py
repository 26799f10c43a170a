"""An IVT-S at the battery's terminals, on the battery's side of its contactors.

Not modelled: noise, filters and the converter's own interval (each frame is of its instant), the gaps
between the frames of a set, U channels that are not wired, power, charge and energy counters, the
over-current signal, limits of the range, setting and storing anything; the shunt is as warm as the cells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from drivers.isabellenhuette_ivt_s import codec, points
from drivers.isabellenhuette_ivt_s.codec import DeviceIs, Result
from drivers.isabellenhuette_ivt_s.options import Options
from harness.clock import Cycle, now_s
from harness.wires import CanPort, Frame

if TYPE_CHECKING:
    from harness.plant import RigPlant

SOFTWARE = (1, 2, 0)
IVT_S = 2


class Emulator:
    """Sends current, voltage and temperature each period, and answers who it is.

    Attributes:
        frozen: values stand still; frames come and count as before.
        swapped_sign: current with the wrong sign.
        silent: no frames at all.
        state: the state bits of every frame; whoever sets them makes the sensor ill.
        disturbance: added to what is measured, by the role's quantity (``current_a``), in its unit and sign.
    """

    def __init__(self, name: str, plant: RigPlant, options: Options) -> None:
        self.name = name
        self.options = options
        self.frozen = False
        self.swapped_sign = False
        self.silent = False
        self.state = 0
        self.disturbance: dict[str, float] = {}
        self._plant = plant
        self._port: CanPort | None = None
        self._stop_listening: Callable[[], None] = lambda: None
        self._cycle: Cycle | None = None
        self._count = 0
        self._channels = (points.CURRENT, points.VOLTAGES[options.voltage_channel], points.TEMPERATURE)
        self._sample: tuple[float, float, float] | None = None

    def attach(self, port: CanPort) -> None:
        """Give the sensor its plug at the CAN line; it speaks from ``start`` on."""
        self._port = port

    async def start(self) -> None:
        """Send the first set now, and one each period after."""
        if self._port is None:
            return
        self._stop_listening = self._port.listen((self.options.command_id,), self._answer)
        self._cycle = Cycle(self.options.period_here_s(), now_s(), self._speak)

    async def stop(self) -> None:
        """Fall silent; raises what ended the sending before, if anything did."""
        self._stop_listening()
        self._stop_listening = lambda: None
        cycle, self._cycle = self._cycle, None
        if cycle is not None:
            cycle.stop()

    def _speak(self) -> None:
        if self.silent or self._port is None:
            return
        if self._sample is None or not self.frozen:
            self._sample = self._measured()
        for channel, value in zip(self._channels, self._sample, strict=True):
            result = Result(value, self._count, self.state)
            self._port.send(self.options.base_id + channel.number, codec.encode_result(channel, result))
        self._count = (self._count + 1) % points.COUNTS

    def _measured(self) -> tuple[float, float, float]:
        """Current as the wire has it, voltage and temperature at the plant's present."""
        self._plant.advance(now_s())
        string, options = self._plant.string, self.options
        gain = 1.0 + options.gain_error
        current_a, voltage_v, temperature_degc = (
            value + self.disturbance.get(channel.quantity, 0.0)
            for channel, value in zip(
                self._channels,
                (
                    string.current_a * gain + options.offset_a,
                    string.voltage_v * gain,
                    string.temperature_degc,
                ),
                strict=True,
            )
        )
        sign = -options.sign if self.swapped_sign else options.sign
        return sign * current_a, voltage_v, temperature_degc

    def _answer(self, frame: Frame) -> None:
        if self.silent or self._port is None or len(frame.data) != points.COMMAND_LENGTH:
            return
        match frame.data[0]:
            case points.GET_DEVICE:
                answer = codec.encode_device(DeviceIs(IVT_S, self.options.range_a))
            case points.GET_SOFTWARE:
                answer = codec.encode_software(*SOFTWARE)
            case points.GET_SERIAL:
                answer = codec.encode_serial(self.options.serial)
            case number:
                answer = bytes([points.WRONG_COMMAND, number]).ljust(points.COMMAND_LENGTH, b"\0")
        self._port.send(self.options.response_id, answer)
