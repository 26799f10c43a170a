"""What every Recorder must do, whatever its maker: run it over an emulator, and over the hardware.

The bench gives a recorder and a way to make the external edge; on hardware a signal generator does both.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import numpy as np
import pytest

from harness.clock import now_s
from harness.errors import DeviceRefused
from harness.roles import Recorder
from harness.testing.suite import Suite


@dataclass(frozen=True, slots=True)
class RecorderBench:
    """A recorder with a known sine at one of its channels.

    Attributes:
        recorder: opened.
        edge: makes the external trigger now, and gives its rig time.
        channel: that sees the sine.
        amplitude: of its peak, in the channel's unit.
        frequency_hz: of the sine.
    """

    recorder: Recorder
    edge: Callable[[], float]
    channel: str
    amplitude: float
    frequency_hz: float


async def completed(recorder: Recorder, limit_s: float, poll_s: float = 0.01) -> None:
    """Poll until the capture has its last sample."""
    give_up_s = now_s() + limit_s
    while not (await recorder.is_complete()).value:
        assert now_s() < give_up_s, f"the capture is not complete after {limit_s:g} s"
        await asyncio.sleep(poll_s)


class RecorderContract(Suite):
    """The suite; ``bench`` is the one thing that a driver's test gives.

    Attributes:
        tolerance: of an amplitude, a fraction.
    """

    tolerance = 0.005

    @abstractmethod
    def bench(self) -> AbstractAsyncContextManager[RecorderBench]:
        """Give an opened recorder with its signal."""

    def on_bench(self, check: Callable[[RecorderBench], Awaitable[None]]) -> None:
        """Run a check over a fresh bench."""

        async def main() -> None:
            async with self.bench() as bench:
                await check(bench)

        self.run(main)

    def test_is_a_recorder_with_channels(self) -> None:
        """Channels are named by rig quantity."""

        async def check(bench: RecorderBench) -> None:
            assert isinstance(bench.recorder, Recorder)
            assert (await bench.recorder.identity()).model
            channels = await bench.recorder.channels()
            assert bench.channel in channels
            assert all("." in channel for channel in channels)

        self.on_bench(check)

    def test_captures_before_and_after_an_edge(self) -> None:
        """Length, rate and times are what was asked for, and the sine has its amplitude."""

        async def check(bench: RecorderBench) -> None:
            recorder = bench.recorder
            await recorder.arm([bench.channel], sample_rate_hz=5_000.0, before_s=0.2, after_s=0.3)
            await asyncio.sleep(0.4567)
            assert (await recorder.is_complete()).value is False
            edge_s = bench.edge()
            await completed(recorder, 2.0)
            wave = (await recorder.waveforms())[bench.channel]
            assert wave.channel == bench.channel
            assert wave.sample_rate_hz == 5_000.0
            assert len(wave.samples) == 2_500
            # The first sample may be up to one interval off the asked time, never more.
            assert wave.start_s == pytest.approx(edge_s - 0.2, abs=1.0 / 5_000.0 + 4.0 * wave.trigger_skew_s)
            window = wave.samples[: round(int(0.5 * bench.frequency_hz) / bench.frequency_hz * 5_000.0)]
            rms = float(np.sqrt(np.mean(window**2)))
            assert rms * 2.0**0.5 == pytest.approx(bench.amplitude, rel=self.tolerance)

        self.on_bench(check)

    def test_says_how_sure_it_is(self) -> None:
        """Gain, offset and skew have uncertainties, and they are not zero."""

        async def check(bench: RecorderBench) -> None:
            await bench.recorder.arm(
                [bench.channel], sample_rate_hz=1_000.0, before_s=0.0, after_s=0.1, trigger="now"
            )
            await completed(bench.recorder, 2.0)
            wave = (await bench.recorder.waveforms())[bench.channel]
            assert 0.0 < wave.gain_u < 0.05
            assert 0.0 < wave.offset_u < 0.05 * bench.amplitude
            assert wave.trigger_skew_s > 0.0

        self.on_bench(check)

    def test_triggers_at_once(self) -> None:
        """``now`` needs no edge."""

        async def check(bench: RecorderBench) -> None:
            armed_s = now_s()
            await bench.recorder.arm(
                [bench.channel], sample_rate_hz=2_000.0, before_s=0.1, after_s=0.2, trigger="now"
            )
            await completed(bench.recorder, 2.0)
            wave = (await bench.recorder.waveforms())[bench.channel]
            assert len(wave.samples) == 600
            assert armed_s <= wave.start_s <= now_s() - 0.3 + 1e-3

        self.on_bench(check)

    def test_waits_for_the_edge(self) -> None:
        """Without an edge it is never complete, and there is nothing to read."""

        async def check(bench: RecorderBench) -> None:
            await bench.recorder.arm([bench.channel], sample_rate_hz=1_000.0, before_s=0.1, after_s=0.1)
            await asyncio.sleep(5.0)
            assert (await bench.recorder.is_complete()).value is False
            with pytest.raises(DeviceRefused, match=r"(?i)complete"):
                await bench.recorder.waveforms()

        self.on_bench(check)

    def test_refuses_what_it_does_not_have(self) -> None:
        """Unknown and doubled channels, no channel, a rate or a length beyond it, an unknown trigger."""

        async def check(bench: RecorderBench) -> None:
            recorder, channel = bench.recorder, bench.channel
            for channels in (["nowhere.u1_v"], [channel, channel], []):
                with pytest.raises(DeviceRefused, match="allowed"):
                    await recorder.arm(channels, sample_rate_hz=1_000.0, before_s=0.1, after_s=0.1)
            for rate_hz in (0.0, -1.0, 1e12):
                with pytest.raises(DeviceRefused, match="allowed"):
                    await recorder.arm([channel], sample_rate_hz=rate_hz, before_s=0.1, after_s=0.1)
            for before_s, after_s in ((-0.1, 0.1), (0.1, 0.0), (0.1, 1e9)):
                with pytest.raises(DeviceRefused, match="allowed"):
                    await recorder.arm([channel], sample_rate_hz=1_000.0, before_s=before_s, after_s=after_s)
            with pytest.raises(DeviceRefused, match="allowed"):
                await recorder.arm(
                    [channel], sample_rate_hz=1_000.0, before_s=0.1, after_s=0.1, trigger="whenever"
                )

        self.on_bench(check)

    def test_arms_again(self) -> None:
        """A second capture is a new one."""

        async def check(bench: RecorderBench) -> None:
            starts: list[float] = []
            for _ in range(2):
                await bench.recorder.arm(
                    [bench.channel], sample_rate_hz=1_000.0, before_s=0.1, after_s=0.1, trigger="now"
                )
                await completed(bench.recorder, 2.0)
                starts.append((await bench.recorder.waveforms())[bench.channel].start_s)
            assert starts[1] > starts[0] + 0.1

        self.on_bench(check)
