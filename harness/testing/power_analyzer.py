"""What every PowerAnalyzer must do, whatever its maker: run it over an emulator, and over the hardware.

A driver's test gives the class a bench::

    class TestContract(PowerAnalyzerContract):
        def bench(self) -> AbstractAsyncContextManager[tuple[PowerAnalyzer, AnalyzerWorld]]:
            return bench()

The suite moves power through the rig in both directions. On hardware ``AnalyzerWorld`` is an inverter, a
second analyzer and somebody who pulls a plug; emulated it is ``EmulatedAnalyzerWorld``.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from abc import abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest

from harness.clock import now_s
from harness.errors import DeviceFault, DeviceRefused, WireTimeout
from harness.plant import RigPlant
from harness.readings import Measured
from harness.roles import PowerAnalyzer
from harness.testing.suite import ContractSuite

SETTLE_S = 5.0
COVERAGE = 3.0
"""Standard uncertainties within which the analyzer must agree with the world."""


class AnalyzerWorld(Protocol):
    """What the analyzer is wired to, steered and measured past its driver."""

    async def set_power_w(self, power_w: float) -> None:
        """Bring this power out of the battery towards the grid; negative charges."""

    async def energies_j(self, node: str) -> tuple[float, float]:
        """Energy out and in at a node since some moment, both positive, by somebody else's measurement."""

    async def silence(self) -> None:
        """Let the analyzer answer no more."""


class Silenceable(Protocol):
    """An emulator that can fall silent."""

    silent: bool


class EmulatedAnalyzerWorld:
    """The plant behind an emulated analyzer.

    Args:
        plant: of the emulated rig, its converter not supervised by a BMS.
        emulator: of the analyzer.
    """

    def __init__(self, plant: RigPlant, emulator: Silenceable) -> None:
        self._plant = plant
        self._emulator = emulator

    async def set_power_w(self, power_w: float) -> None:
        """Command the plant's converter itself."""
        self._plant.advance(now_s())
        self._plant.converter.turn_on()
        self._plant.converter.set_power_w(power_w)

    async def energies_j(self, node: str) -> tuple[float, float]:
        """Look at the plant's own totals."""
        self._plant.advance(now_s())
        totals = self._plant.totals(node)
        return totals.energy_out_j, totals.energy_in_j

    async def silence(self) -> None:
        """Mute the emulator."""
        self._emulator.silent = True


class PowerAnalyzerContract(ContractSuite[PowerAnalyzer, AnalyzerWorld]):
    """The suite; ``bench`` is the one thing that a driver's test gives.

    Attributes:
        power_w: moved in both directions.
        no_interval_s: an update interval that the analyzer does not have.
        other_interval_s: one that it has, and that it is not opened with.
    """

    power_w = 3000.0
    no_interval_s = 0.33
    other_interval_s = 0.5

    @abstractmethod
    def bench(self) -> AbstractAsyncContextManager[tuple[PowerAnalyzer, AnalyzerWorld]]:
        """Give an opened analyzer, wired to ``pcs_ac`` and ``battery_dc`` at least, and its world at rest."""

    def test_is_a_power_analyzer_with_an_identity(self) -> None:
        """It has all of the role's calls, says who it is, and names its nodes."""

        async def check(analyzer: PowerAnalyzer, _: AnalyzerWorld) -> None:
            assert isinstance(analyzer, PowerAnalyzer)
            identity = await analyzer.identity()
            assert identity.maker
            assert identity.model
            assert {"pcs_ac", "battery_dc"} <= await analyzer.nodes()

        self.on_bench(check)

    def test_closes_twice(self) -> None:
        """A second close does nothing and raises nothing."""

        async def check(analyzer: PowerAnalyzer, _: AnalyzerWorld) -> None:
            await analyzer.close()
            await analyzer.close()

        self.on_bench(check)

    @pytest.mark.parametrize("direction", [1.0, -1.0], ids=["discharge", "charge"])
    def test_power_has_the_sign_of_its_direction_and_agrees_with_the_world(self, direction: float) -> None:
        """Out of the battery is positive at both sides of the converter."""

        async def check(analyzer: PowerAnalyzer, world: AnalyzerWorld) -> None:
            await world.set_power_w(direction * self.power_w)
            await asyncio.sleep(SETTLE_S)
            await analyzer.values("pcs_ac")
            for node in ("pcs_ac", "battery_dc"):
                before_s, before = now_s(), await world.energies_j(node)
                values = await analyzer.values(node)
                await asyncio.sleep(1.0)
                after = await world.energies_j(node)
                mean_w = ((after[0] - before[0]) - (after[1] - before[1])) / (now_s() - before_s)
                assert values.power_w.value * direction > 0.8 * self.power_w
                # The battery's voltage moves while it is measured: a thousandth.
                assert abs(values.power_w.value - mean_w) < COVERAGE * values.power_w.u + 0.001 * abs(mean_w)
            current_a = (await analyzer.values("battery_dc")).current_a
            assert current_a.value * direction > 0.0

        self.on_bench(check)

    def test_values_say_when_and_how_well(self) -> None:
        """Each has a window of about one update interval, and an uncertainty that is not zero."""

        async def check(analyzer: PowerAnalyzer, world: AnalyzerWorld) -> None:
            await world.set_power_w(self.power_w)
            await asyncio.sleep(SETTLE_S)
            interval_s = await analyzer.update_interval_s()
            values = await analyzer.values("pcs_ac")
            for found in (values.voltage_v, values.current_a, values.power_w, values.frequency_hz):
                assert 0.0 < found.u < math.inf
                assert found.window_s is not None
                from_s, to_s = found.window_s
                assert interval_s <= to_s - from_s < 1.5 * interval_s
                assert to_s <= now_s()
                assert now_s() - to_s < 0.5 * interval_s

        self.on_bench(check)

    def test_each_call_waits_for_another_update(self) -> None:
        """The same node asked twice gives two windows, one interval apart."""

        async def check(analyzer: PowerAnalyzer, _: AnalyzerWorld) -> None:
            interval_s = await analyzer.update_interval_s()
            ends_s = [_end_s((await analyzer.values("pcs_ac")).power_w) for _ in range(3)]
            for before_s, after_s in itertools.pairwise(ends_s):
                assert after_s - before_s == pytest.approx(interval_s, rel=0.1)

        self.on_bench(check)

    def test_nodes_asked_together_share_an_update(self) -> None:
        """So that power at two nodes can be compared."""

        async def check(analyzer: PowerAnalyzer, _: AnalyzerWorld) -> None:
            ac, dc = await asyncio.gather(analyzer.values("pcs_ac"), analyzer.values("battery_dc"))
            assert _end_s(ac.power_w) == _end_s(dc.power_w)

        self.on_bench(check)

    def test_refuses_what_it_does_not_have(self) -> None:
        """A node that it is not wired to, and an interval that it has no step for."""

        async def check(analyzer: PowerAnalyzer, _: AnalyzerWorld) -> None:
            with pytest.raises(DeviceRefused, match="nowhere"):
                await analyzer.values("nowhere")
            stood_s = await analyzer.update_interval_s()
            with pytest.raises(DeviceRefused):
                await analyzer.set_update_interval_s(self.no_interval_s)
            assert await analyzer.update_interval_s() == stood_s

        self.on_bench(check)

    def test_another_interval_is_read_back_and_kept(self) -> None:
        """Values then come as often as it says."""

        async def check(analyzer: PowerAnalyzer, _: AnalyzerWorld) -> None:
            await analyzer.set_update_interval_s(self.other_interval_s)
            assert await analyzer.update_interval_s() == self.other_interval_s
            first = _end_s((await analyzer.values("pcs_ac")).power_w)
            second = _end_s((await analyzer.values("pcs_ac")).power_w)
            assert second - first == pytest.approx(self.other_interval_s, rel=0.1)

        self.on_bench(check)

    def test_energy_is_the_worlds_in_both_directions(self) -> None:
        """Half a minute of discharge and half a minute of charge stand apart, and stay after the stop."""

        async def check(analyzer: PowerAnalyzer, world: AnalyzerWorld) -> None:
            before = {node: await world.energies_j(node) for node in ("pcs_ac", "battery_dc")}
            await analyzer.start_integration()
            await world.set_power_w(self.power_w)
            await asyncio.sleep(30.0)
            await world.set_power_w(-self.power_w)
            await asyncio.sleep(30.0)
            await analyzer.stop_integration()
            for node, (out_j, in_j) in before.items():
                energy = await analyzer.energy(node)
                after = await world.energies_j(node)
                assert energy.duration_s == pytest.approx(60.0, abs=0.1)
                assert abs(energy.out_j.value - (after[0] - out_j)) < COVERAGE * energy.out_j.u
                assert abs(energy.in_j.value - (after[1] - in_j)) < COVERAGE * energy.in_j.u
                assert energy.out_j.u < 0.01 * energy.out_j.value
            kept = await analyzer.energy("pcs_ac")
            await asyncio.sleep(10.0)
            assert (await analyzer.energy("pcs_ac")).in_j.value == kept.in_j.value

        self.on_bench(check)

    def test_a_new_integration_starts_from_zero(self) -> None:
        """Even where one was running."""

        async def check(analyzer: PowerAnalyzer, _: AnalyzerWorld) -> None:
            await analyzer.start_integration()
            await asyncio.sleep(20.0)
            await analyzer.start_integration()
            await asyncio.sleep(10.0)
            await analyzer.stop_integration()
            assert (await analyzer.energy("battery_dc")).duration_s == pytest.approx(10.0, abs=0.1)

        self.on_bench(check)

    def test_nothing_integrated_is_no_zero(self) -> None:
        """Energy that was never integrated is an error."""

        async def check(analyzer: PowerAnalyzer, _: AnalyzerWorld) -> None:
            with pytest.raises(DeviceFault):
                await analyzer.energy("pcs_ac")

        self.on_bench(check)

    def test_silence_is_a_timeout(self) -> None:
        """No answer raises, and nothing old is handed out."""

        async def check(analyzer: PowerAnalyzer, world: AnalyzerWorld) -> None:
            await analyzer.values("pcs_ac")
            await world.silence()
            with pytest.raises(WireTimeout):
                await analyzer.values("pcs_ac")

        self.on_bench(check)


def _end_s(found: Measured) -> float:
    """Give the end of a value's window."""
    assert found.window_s is not None, f"{found.sources} has no window"
    return found.window_s[1]
