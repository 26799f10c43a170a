"""The generic recorder at the far end of a socket: it samples the plant, 16 bits a channel.

Samples are taken out of the plant a second at a time while the capture runs, since the plant forgets.
Each channel has a gain and an offset error of its own, inside the limits of ``points``.

Not modelled: noise, jitter of the sample clock and its drift against rig time, anti-alias filters, skew
between channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from drivers.generic_daq import points
from drivers.generic_daq.options import Channel, Options
from harness.clock import now_s
from harness.plant import RigPlant
from harness.plant.keyed import normal
from harness.wires import scpi
from harness.wires.scpi import Call, ScpiError

IDENTITY = "RACKPROOF,GENERIC-DAQ,EMULATED,1.0"
SWITCHED_ON_AT_S = -3723.25
"""Rig time at which its clock began to count: it knows nothing of rig time."""
TAKE_EVERY_S = 1.0
OUT_OF_MEMORY = ScpiError(-225, "Out of memory")
DATA_STALE = ScpiError(-230, "Data corrupt or stale")
SHARE_OF_LIMITS = 0.2
"""Standard deviation of its errors, of the limits; draws beyond the limits are cut there."""


@dataclass(slots=True)
class _Trace:
    """What one channel has sampled, oldest piece first."""

    channel: Channel
    full_scale: float
    pieces: list[NDArray[np.int16]] = field(default_factory=list)
    codes: NDArray[np.int16] | None = None
    over: list[bool] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Trigger:
    """When it came, and the index of the first sample that is kept."""

    at_s: float
    first: int


@dataclass(slots=True)
class _Capture:
    """One acquisition: sample k is at ``starts_s + k / rate_hz``."""

    starts_s: float
    rate_hz: float
    before: int
    after: int
    traces: dict[int, _Trace]
    taken: int = 0
    dropped: int = 0
    trigger: _Trigger | None = None

    def time_s(self, index: int) -> float:
        return self.starts_s + index / self.rate_hz

    @property
    def count(self) -> int:
        """Samples that are kept of each channel."""
        return self.before + self.after

    @property
    def end(self) -> int | None:
        """Index behind the last sample, once triggered."""
        return None if self.trigger is None else self.trigger.first + self.before + self.after

    @property
    def is_complete(self) -> bool:
        return self.end is not None and self.taken >= self.end


class Emulator:
    """Answers as the recorder does; ``trigger`` is its external input.

    Attributes:
        frozen: each channel repeats its first sample.
        swapped_sign: currents have the wrong sign.
        silent: nothing is answered, and nothing done.
    """

    def __init__(self, name: str, plant: RigPlant, options: Options) -> None:
        self.name = name
        self.frozen = False
        self.swapped_sign = False
        self.silent = False
        self._plant = plant
        self._options = options
        self._by_number = {channel.number: channel for channel in options.channels}
        self._capture: _Capture | None = None
        self._errors = scpi.ErrorQueue()
        self._reset_settings()
        common = scpi.CommonCommands(lambda: IDENTITY, self._errors, self._reset)
        self._interpreter = scpi.ScpiInterpreter({**common.commands, **self._commands()}, self._errors)

    async def start(self) -> None:
        """Do nothing: it acts when it is spoken to."""

    async def stop(self) -> None:
        """Give up what is being sampled."""
        self._capture = None

    def trigger(self, at_s: float) -> None:
        """Take an edge at the external input; ignored unless armed for it and full up to the trigger."""
        if self._source == "EXT":
            self._trigger(at_s)

    async def answer(self, message: bytes) -> bytes | None:
        """Take one message."""
        if self.silent:
            return None
        self._plant.advance(now_s())
        return await self._interpreter.answer(message)

    def _commands(self) -> dict[str, scpi.Handler]:
        return {
            ":SYSTem:ERRor?": lambda _: str(self._errors.pop()),
            ":SYSTem:TIME?": lambda _: f"{now_s() - SWITCHED_ON_AT_S:.9f}",
            ":SYSTem:MEMory?": lambda _: str(self._options.memory_samples),
            ":CHANnel:RANGe": self._set_range,
            ":ACQuire:CHANnels": self._set_channels,
            ":ACQuire:SRATe": self._set_rate,
            ":ACQuire:SRATe?": lambda _: f"{self._rate_hz:.9g}",
            ":ACQuire:PREtrigger": self._set_before,
            ":ACQuire:POSTtrigger": self._set_after,
            ":ACQuire:ARM": lambda _: self._arm(),
            ":ACQuire:ABORt": lambda _: self._abort(),
            ":ACQuire:STATe?": lambda _: self._state(),
            ":TRIGger:SOURce": self._set_source,
            ":WAVeform:COUNt?": lambda _: str(self._finished()[0].count),
            ":WAVeform:STARt?": lambda _: self._start(),
            ":WAVeform:TRIGger?": lambda _: f"{self._finished()[1].at_s - SWITCHED_ON_AT_S:.9f}",
            ":WAVeform:OVER?": lambda _: self._over(),
            ":WAVeform:DATA?": self._block,
        }

    def _reset_settings(self) -> None:
        self._ranges = {channel.number: channel.full_scale for channel in self._options.channels}
        self._chosen = sorted(self._by_number)
        self._rate_hz = 10_000.0
        self._before = 0
        self._after = 1_000
        self._source = "EXT"

    def _reset(self) -> None:
        self._capture = None
        self._reset_settings()

    def _abort(self) -> None:
        self._capture = None

    def _number(self, argument: str) -> int:
        number = int(scpi.number(argument))
        if number not in self._by_number:
            raise scpi.ILLEGAL_PARAMETER_VALUE
        return number

    def _set_range(self, call: Call) -> None:
        if len(call.arguments) != 2:
            raise scpi.MISSING_PARAMETER
        self._ranges[self._number(call.arguments[0])] = scpi.number(
            call.arguments[1], minimum=1e-3, maximum=1e6
        )

    def _set_channels(self, call: Call) -> None:
        self._chosen = [self._number(argument) for argument in call.arguments]

    def _set_rate(self, call: Call) -> None:
        self._rate_hz = scpi.number(
            call.only(), unit="HZ", minimum=1.0, maximum=self._options.max_sample_rate_hz
        )

    def _set_before(self, call: Call) -> None:
        self._before = int(scpi.number(call.only(), minimum=0))

    def _set_after(self, call: Call) -> None:
        self._after = int(scpi.number(call.only(), minimum=1))

    def _set_source(self, call: Call) -> None:
        self._source = "EXT" if scpi.choice(call.only(), "EXTernal", "IMMediate") == "EXTernal" else "IMM"

    def _arm(self) -> None:
        if self._before + self._after > self._options.memory_samples:
            raise OUT_OF_MEMORY
        traces = {number: _Trace(self._by_number[number], self._ranges[number]) for number in self._chosen}
        self._capture = _Capture(now_s(), self._rate_hz, self._before, self._after, traces)
        self._take_later(self._capture)
        if self._source == "IMM":
            capture, full_s = self._capture, self._capture.time_s(self._before)
            if self._before == 0:
                self._trigger(full_s)
            else:
                self._plant.at(full_s, lambda: self._trigger(full_s) if self._capture is capture else None)

    def _state(self) -> str:
        capture = self._capture
        if capture is None:
            return points.IDLE
        if capture.is_complete:
            return points.COMPLETE
        if capture.trigger is not None:
            return points.TRIGGERED
        return points.READY if _index(capture, now_s()) >= capture.before else points.PREFILL

    def _trigger(self, at_s: float) -> None:
        capture = self._capture
        if capture is None or capture.trigger is not None:
            return
        index = _index(capture, at_s)  # the first sample at or behind the edge
        if index < capture.before:
            return
        capture.trigger = _Trigger(at_s, index - capture.before)
        end = index + capture.after
        self._plant.at(capture.time_s(end), lambda: self._take(capture, end))

    def _take_later(self, capture: _Capture) -> None:
        """Sample a second on, and again from there."""
        until = capture.taken + max(1, math.ceil(TAKE_EVERY_S * capture.rate_hz))

        def take() -> None:
            self._take(capture, until)
            if self._capture is capture and not capture.is_complete:
                self._take_later(capture)

        self._plant.at(capture.time_s(until), take)

    def _take(self, capture: _Capture, until: int) -> None:
        """Move the samples up to ``until`` out of the plant; what no trigger can reach any more goes."""
        if self._capture is not capture:
            return
        until = until if capture.end is None else min(until, capture.end)
        count = until - capture.taken
        if count <= 0:
            return
        traces = capture.traces.values()
        sampled = self._plant.waveforms(
            [trace.channel.quantity for trace in traces],
            capture.time_s(capture.taken),
            capture.rate_hz,
            count,
        )
        for trace, samples in zip(traces, sampled, strict=True):
            trace.pieces.append(self._digitised(trace, samples))
        capture.taken = until
        wanted = max(0, until - capture.before) if capture.trigger is None else capture.trigger.first
        while True:
            oldest = next(iter(capture.traces.values())).pieces[0]
            if capture.dropped + len(oldest) > wanted:
                break
            for trace in capture.traces.values():
                del trace.pieces[0], trace.over[0]
            capture.dropped += len(oldest)

    def _digitised(self, trace: _Trace, samples: NDArray[np.float64]) -> NDArray[np.int16]:
        channel = trace.channel
        gain = 1.0 + points.GAIN_LIMIT * self._error("gain", channel.number)
        offset = points.OFFSET_LIMIT * self._error("offset", channel.number)
        if channel.is_reversed != (self.swapped_sign and channel.quantity.endswith("_a")):
            gain = -gain
        codes = samples * (gain / trace.full_scale * points.CODES)
        codes += offset * points.CODES
        np.rint(codes, out=codes)
        is_over = len(codes) > 0 and max(-codes.min(), codes.max()) > points.CLIPPED
        trace.over.append(bool(is_over))
        if is_over:
            np.clip(codes, -points.CLIPPED, points.CLIPPED, out=codes)
        return codes.astype(np.int16)

    def _error(self, what: str, channel: int) -> float:
        """Draw an error of a channel, as a share of its limit."""
        share = SHARE_OF_LIMITS * normal(self._plant.spec.seed, f"{self.name}.{what}", channel)
        return max(-1.0, min(1.0, share))

    def _finished(self) -> tuple[_Capture, _Trigger]:
        capture = self._capture
        if capture is None or capture.trigger is None or not capture.is_complete:
            raise DATA_STALE
        return capture, capture.trigger

    def _start(self) -> str:
        capture, trigger = self._finished()
        return f"{capture.time_s(trigger.first) - trigger.at_s:.9f}"

    def _over(self) -> str:
        traces = self._finished()[0].traces
        return ",".join(str(number) for number, trace in traces.items() if any(trace.over)) or "0"

    def _block(self, call: Call) -> bytes:
        if len(call.arguments) != 3:
            raise scpi.MISSING_PARAMETER
        capture, trigger = self._finished()
        number = self._number(call.arguments[0])
        if number not in capture.traces:
            raise scpi.ILLEGAL_PARAMETER_VALUE
        whole = capture.count
        first = int(scpi.number(call.arguments[1], minimum=0, maximum=whole - 1))
        count = int(
            scpi.number(call.arguments[2], minimum=1, maximum=min(points.MOST_SAMPLES_A_QUERY, whole - first))
        )
        codes = self._codes(capture, trigger, capture.traces[number])
        return scpi.encode_block(codes[first : first + count].astype("<i2").tobytes())

    def _codes(self, capture: _Capture, trigger: _Trigger, trace: _Trace) -> NDArray[np.int16]:
        """Samples of a finished capture, put together once."""
        if trace.codes is None:
            begin = trigger.first - capture.dropped
            trace.codes = np.concatenate(trace.pieces)[begin : begin + capture.count]
            trace.pieces = []
        return np.full_like(trace.codes, trace.codes[0]) if self.frozen else trace.codes


def _index(capture: _Capture, time_s: float) -> int:
    """Give the first sample at or behind ``time_s``; a nanosecond is forgiven."""
    return max(0, math.ceil((time_s - capture.starts_s - 1e-9) * capture.rate_hz))
