"""Arms the recorder, waits, and places what it sampled on rig time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.generic_daq import points
from drivers.generic_daq.options import Channel, Options
from harness.clock import now_s
from harness.errors import CodecError, DeviceFault, DeviceRefused, excerpt
from harness.readings import Reading, Voice, Waveform
from harness.roles import Identity
from harness.wires import VisaLine
from harness.wires.scpi_talk import ScpiTalk

SYNC_EXCHANGES = 5
"""Of these the fastest counts: it says most about when the clock was read."""
PREFILL_POLL_S = 0.01
"""Between two looks at a memory that fills: what a plan waits in vain at most; ours."""
PREFILL_GRACE_S = 1.0
"""Beyond the time that was asked for before the trigger; ours, far more than an instrument needs to start."""


@dataclass(frozen=True, slots=True)
class Sync:
    """How the instrument's clock stands to rig time: rig = instrument + offset_s, within u_s."""

    offset_s: float
    u_s: float


@dataclass(frozen=True, slots=True)
class Capture:
    """What was armed."""

    channels: tuple[Channel, ...]
    sample_rate_hz: float
    count: int


class Driver:
    """The generic recorder; every command group is followed by a look at the error queue."""

    def __init__(self, name: str, wire: VisaLine, options: Options, voice: Voice) -> None:
        self.name = name
        self._wire = wire
        self._talk = ScpiTalk(name, wire, points.ERROR)
        self._options = options
        self._voice = voice
        self._by_quantity = {channel.quantity: channel for channel in options.channels}
        self._memory_samples = options.memory_samples
        self._sync: Sync | None = None
        self._capture: Capture | None = None

    async def open(self) -> None:
        """Clear the error queue, learn the memory's size and compare the clocks."""
        await self._talk.command(points.CLEAR)
        self._memory_samples = min(self._options.memory_samples, int(await self._talk.number(points.MEMORY)))
        self._sync = await self._compare_clocks()

    async def close(self) -> None:
        """Forget the capture; the instrument keeps what it has."""
        self._capture = None

    async def identity(self) -> Identity:
        """Ask for maker, model, serial number and firmware."""
        return await self._talk.identity()

    async def channels(self) -> frozenset[str]:
        """Quantities that inputs are wired to, from the rig file."""
        return frozenset(self._by_quantity)

    async def arm(
        self,
        channels: Sequence[str],
        *,
        sample_rate_hz: float,
        before_s: float,
        after_s: float,
        trigger: str = "external",
    ) -> None:
        """Arm, and return once the memory before the trigger is full: it takes ``before_s`` of rig time.

        Raises:
            DeviceRefused: a channel, rate or length that the recorder does not have.
            DeviceFault: it does not fill its memory.
        """
        capture, before = self._planned(channels, sample_rate_hz, before_s, after_s, trigger)
        self._voice.command(
            "arm",
            {
                "channels": tuple(channels),
                "sample_rate_hz": sample_rate_hz,
                "before_s": before_s,
                "after_s": after_s,
                "trigger": trigger,
            },
        )
        self._capture = None
        await self._talk.command(
            points.ABORT,
            *(
                points.RANGE.format(channel=channel.number, full_scale=channel.full_scale)
                for channel in capture.channels
            ),
            points.CHANNELS.format(channels=",".join(str(channel.number) for channel in capture.channels)),
            points.SAMPLE_RATE.format(hertz=sample_rate_hz),
            points.BEFORE.format(samples=before),
            points.AFTER.format(samples=capture.count - before),
            points.TRIGGER.format(source=points.TRIGGER_SOURCES[trigger]),
        )
        stands_hz = await self._talk.number(points.SAMPLE_RATE_SETPOINT)
        if not math.isclose(stands_hz, sample_rate_hz, rel_tol=1e-9):
            raise DeviceRefused(
                f"{self.name}: arm: asked for {sample_rate_hz:g} samples/s and it chose {stands_hz:g}"
            )
        self._sync = await self._compare_clocks()
        await self._talk.command(points.ARM)
        self._capture = capture
        await asyncio.sleep(before_s)
        give_up_s = now_s() + PREFILL_GRACE_S
        while await self._state() == points.PREFILL:
            if now_s() >= give_up_s:
                raise DeviceFault(
                    f"{self.name}: arm: still filling its memory {before_s + PREFILL_GRACE_S:g} s after"
                    f" it was armed; {before_s:g} s before the trigger were asked for"
                )
            await asyncio.sleep(PREFILL_POLL_S)

    async def is_complete(self) -> Reading[bool]:
        """Whether the capture has its last sample."""
        return self._voice.reading("is_complete", await self._state() == points.COMPLETE)

    async def waveforms(self) -> Mapping[str, Waveform]:
        """Read the finished capture in pieces of 16,384 samples.

        Raises:
            DeviceRefused: nothing was armed, or it is not complete.
            DeviceFault: a channel left its range; the message names it.
        """
        capture, sync = self._capture, self._sync
        state = await self._state()
        if capture is None or sync is None or state != points.COMPLETE:
            raise DeviceRefused(
                f"{self.name}: waveforms: the capture is {state}; {points.COMPLETE} is allowed"
                + ("" if capture else ", after arm()")
            )
        await self._check_ranges(capture)
        count = int(await self._talk.number(points.COUNT))
        if count != capture.count:
            raise CodecError(f"{self.name}: it holds {count} samples and {capture.count} were asked for")
        start_s = (
            await self._talk.number(points.TRIGGERED_AT)
            + await self._talk.number(points.START)
            + sync.offset_s
        )
        skew_s = math.hypot(self._options.trigger_skew_s, sync.u_s)
        return {
            channel.quantity: Waveform(
                samples=await self._samples(channel, count),
                start_s=start_s,
                sample_rate_hz=capture.sample_rate_hz,
                channel=channel.quantity,
                gain_u=points.GAIN_LIMIT / math.sqrt(3.0),  # limits, read as rectangular
                offset_u=_offset_u(channel.full_scale),
                trigger_skew_s=skew_s,
            )
            for channel in capture.channels
        }

    def _planned(
        self, channels: Sequence[str], sample_rate_hz: float, before_s: float, after_s: float, trigger: str
    ) -> tuple[Capture, int]:
        """Check a capture before anything is sent; the second value is its samples before the trigger."""
        strangers = [channel for channel in channels if channel not in self._by_quantity]
        if strangers or not channels or len(set(channels)) != len(channels):
            raise DeviceRefused(
                f"{self.name}: arm: channels {', '.join(strangers or channels) or 'none'};"
                f" each once of {', '.join(sorted(self._by_quantity))} is allowed"
            )
        if not 0.0 < sample_rate_hz <= self._options.max_sample_rate_hz:
            raise DeviceRefused(
                f"{self.name}: arm: {sample_rate_hz:g} samples/s; up to"
                f" {self._options.max_sample_rate_hz:g} is allowed"
            )
        if trigger not in points.TRIGGER_SOURCES:
            raise DeviceRefused(
                f"{self.name}: arm: trigger {trigger!r}; {' or '.join(points.TRIGGER_SOURCES)} is allowed"
            )
        if not (before_s >= 0.0 and after_s > 0.0 and math.isfinite(before_s + after_s)):
            raise DeviceRefused(
                f"{self.name}: arm: {before_s:g} s before and {after_s:g} s after the trigger;"
                " zero or more before and some time after are allowed"
            )
        before = round(before_s * sample_rate_hz)
        count = before + max(1, round(after_s * sample_rate_hz))
        if count > self._memory_samples:
            raise DeviceRefused(
                f"{self.name}: arm: {count} samples a channel; {self._memory_samples} are allowed, which is"
                f" {self._memory_samples / sample_rate_hz:g} s at {sample_rate_hz:g} samples/s"
            )
        return Capture(
            tuple(self._by_quantity[channel] for channel in channels), sample_rate_hz, count
        ), before

    async def _compare_clocks(self) -> Sync:
        """Ask the time a few times; the fastest exchange bounds the offset by half its length."""
        best = Sync(0.0, math.inf)
        for _ in range(SYNC_EXCHANGES):
            sent_s = now_s()
            instrument_s = await self._talk.number(points.TIME)
            half_s = (now_s() - sent_s) / 2.0
            u_s = half_s / math.sqrt(3.0)  # the clock was read anywhere within the exchange: rectangular
            if u_s < best.u_s:
                best = Sync(sent_s + half_s - instrument_s, u_s)
        return best

    async def _check_ranges(self, capture: Capture) -> None:
        answer = await self._wire.query(points.OVER_RANGE)
        try:
            over = {int(number) for number in answer.split(",")} - {0}
        except ValueError as error:
            raise CodecError(
                f"{self.name}: {points.OVER_RANGE} was answered "
                f"{excerpt(answer)}: channel numbers are expected"
            ) from error
        if over:
            names = [
                f"{channel.quantity} (beyond {channel.full_scale:g})"
                for channel in capture.channels
                if channel.number in over
            ]
            raise DeviceFault(
                f"{self.name}: over range during the capture: {', '.join(names) or sorted(over)};"
                " choose a larger full_scale in the rig file"
            )

    async def _samples(self, channel: Channel, count: int) -> NDArray[np.float64]:
        codes = np.empty(count, dtype=np.int16)
        for first in range(0, count, points.MOST_SAMPLES_A_QUERY):
            piece = min(points.MOST_SAMPLES_A_QUERY, count - first)
            query = points.DATA.format(channel=channel.number, first=first, count=piece)
            block = await self._wire.query_block(query)
            if len(block) != 2 * piece:
                raise CodecError(
                    f"{self.name}: {query} was answered with {len(block)} bytes: {2 * piece} are expected"
                )
            codes[first : first + piece] = np.frombuffer(block, dtype="<i2")
        step = channel.full_scale / points.CODES
        return np.multiply(codes, -step if channel.is_reversed else step, dtype=np.float64)

    async def _state(self) -> str:
        return await self._talk.word(points.STATE, points.STATES)


def _offset_u(full_scale: float) -> float:
    """Offset limit and one code's width, both rectangular, as a standard uncertainty."""
    return full_scale * math.hypot(points.OFFSET_LIMIT / math.sqrt(3.0), 1.0 / points.CODES / math.sqrt(12.0))
