"""All physics of one rig, advanced to the present whenever somebody looks.

A step ends at the next exact event (breakpoint, timer, planned action, the look itself), or earlier: a few
milliseconds while a current settles or a ramp runs, a microsecond beyond a protection level that a ramp
crosses, one second under power, a minute at rest. Within a step phasors run linearly, the battery's current
is constant. While nothing moves on the AC side it stands: phasors are not solved, the last stretch of the
past goes on, and a step is the battery's alone. What halving all steps moves is in ``stated_error``; looking
more often does no more than that. A limit of the battery that cuts the power is held to 2e-5 of the largest
DC current, a voltage as the mean of a step.

Not modelled: cables between battery and converter, an ambient that follows what the devices give off, AC
ripple in the battery.
"""

from __future__ import annotations

import cmath
import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple, Protocol

from harness.plant import network
from harness.plant.bms import Bms
from harness.plant.converter import Converter, Mains
from harness.plant.generator import Generator
from harness.plant.grid import Grid
from harness.plant.history import AcStretch, DcStretch, FloatArray, History, NodeTotals, Turning
from harness.plant.load import CriticalLoad, Island
from harness.plant.network import SOLAR, STANDBY, ZERO, Flow, Infeed, Phasors
from harness.plant.rack import battery
from harness.plant.solar import SolarArray
from harness.plant.spec import PlantSpec
from harness.plant.transfer_switch import Source, TransferSwitch

POWER_STEP_S = 1.0
REST_STEP_S = 60.0
CROSSING_S = 1e-6
"""How far beyond a protection level a step of a ramp ends."""


@dataclass(frozen=True, slots=True)
class EnergyBalance:
    """Where energy went since time zero, in J.

    The boundary lies at the source's EMF, at the terminals of second source and solar array, the load and the
    air.

    Attributes:
        in_j: out of the sources.
        out_j: into sources and load.
        string_loss_j: heat in the string, coulombic loss, self-discharge, balancing, and what went with
            capacity.
        converter_loss_j: heat of the converter.
        source_loss_j: heat of the source's resistance.
        own_loss_j: into precharge resistor, link, a short across it, and the battery's own strip load.
        stored_change_j: in the cells, from their states of charge alone.
        residual_j: what the numbers above leave over: the numerical error.
        throughput_j: what passed the boundary, or the battery's terminals if that is more.
    """

    in_j: float
    out_j: float
    string_loss_j: float
    converter_loss_j: float
    source_loss_j: float
    own_loss_j: float
    stored_change_j: float
    residual_j: float
    throughput_j: float

    @property
    def residual_fraction(self) -> float:
        """Residual over throughput; zero where nothing flowed."""
        return abs(self.residual_j) / self.throughput_j if self.throughput_j > 0.0 else 0.0


class RigPlant:
    """Source, load, converter and battery of one rig, sharing one time.

    Attributes:
        now_s: the time that everything stands at.
        string: the cells: one string, or a rack of them.
        bms: their management.
        converter: the PCS.
        grid: the AC source.
        load: the critical load.
        standby: the second source, of a rig that has one.
        switch: between mains and second source.
        solar: the array at the bus, of a rig that has one.
    """

    def __init__(self, spec: PlantSpec, *, step_scale: float = 1.0) -> None:
        """Build the rig at time zero.

        Args:
            spec: what it is made of.
            step_scale: of all step lengths that no event sets; for tests of the numerical error.
        """
        self.spec = spec
        self.now_s = 0.0
        self.string = battery(spec.battery, spec.ambient_degc, spec.seed, step_scale=step_scale)
        self.bms = Bms(spec.bms, self.string, spec.seed)
        self.converter = Converter(spec.converter, spec.ambient_degc, spec.seed)
        self.grid = Grid(spec.grid)
        self.load = CriticalLoad(spec.load)
        self._step_scale = step_scale
        self._island = Island(self.load) if all(self.load.circuit()) else None
        # The same while it lives: the bus without a source, on the converter's current and its resonance.
        self._alone: Island | None = None
        self.standby: Source | None = None
        self.switch: TransferSwitch | None = None
        self.solar: SolarArray | None = None
        if spec.generator is not None:
            self.standby = Generator(spec.generator, spec.seed)
        elif spec.second_mains is not None:
            self.standby = Grid(spec.second_mains)
        if self.standby is not None and spec.transfer_switch is not None:
            self.switch = TransferSwitch(spec.transfer_switch, self.grid, self.standby)
        if spec.solar is not None:
            self.solar = SolarArray(
                spec.solar, spec.seed, spec.grid.nominal_voltage_v, spec.grid.frequency_hz
            )
        # Parts with a life of their own beside grid, converter and battery; none costs nothing.
        load = self.load if self.load.is_dynamic else None
        parts: tuple[_Part | None, ...] = (self.standby, self.switch, self.solar, load)
        self._parts = tuple(part for part in parts if part is not None)
        harmonics = spec.grid.harmonics or (spec.second_mains is not None and spec.second_mains.harmonics)
        self._has_frequency = any(self.load.circuit()) or bool(harmonics)
        self._feed: Source | None = None
        self._frame: Source = self.grid
        self._bus_turns = self.grid.turns
        nodes = ((STANDBY, self.standby), (SOLAR, self.solar))
        self._history = History([node for node, part in nodes if part is not None])
        self._own_j = 0.0
        self._actions: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._is_advancing = False
        self._dead = Flow(*(network.ZERO,) * 6)
        self._flow = self._dead
        self._flow_key: object = None
        self._more: object = None
        # While nothing moves on the AC side until the next event, a step is the battery's alone.
        self._standing: _Standing | None = None
        self._settle()

    def advance(self, to_s: float) -> None:
        """Bring everything to a time; at the present time, let what was commanded act.

        Raises:
            ValueError: the time lies in the past.
        """
        if to_s < self.now_s:
            raise ValueError(f"plant: advance({to_s}) from {self.now_s} s; allowed the present and later")
        if self._is_advancing:
            if to_s > self.now_s:
                raise ValueError(f"plant: advance({to_s}) within an action at {self.now_s} s")
            return
        self._is_advancing = True
        try:
            if self._is_touched():
                self._settle()
            while self.now_s < to_s:
                self._step(to_s)
        finally:
            self._is_advancing = False

    def at(self, time_s: float, action: Callable[[], None]) -> None:
        """Run an action inside ``advance`` at exactly this time; equal times in the order they were planned.

        Raises:
            ValueError: the time lies in the past.
        """
        if time_s < self.now_s:
            raise ValueError(f"plant: at({time_s}) from {self.now_s} s; allowed the present and later")
        heapq.heappush(self._actions, (time_s, next(self._order), action))

    def totals(self, node: str) -> NodeTotals:
        """Integrals at ``grid_ac``, ``pcs_ac``, ``load_ac`` or ``battery_dc`` from time zero to now.

        A rig with a second source has ``standby_ac`` (positive into it), one with a solar array ``solar_ac``.

        Raises:
            ValueError: no such node.
        """
        return self._history.totals(node)

    def waveform(self, channel: str, start_s: float, sample_rate_hz: float, count: int) -> FloatArray:
        """Instantaneous values of a channel (``pcs_ac.u1_v``, ``battery_dc.i_a``), free of noise.

        Raises:
            ValueError: no such channel, or a window that is not in the kept past.
        """
        [samples] = self.waveforms([channel], start_s, sample_rate_hz, count)
        return samples

    def waveforms(
        self, channels: Sequence[str], start_s: float, sample_rate_hz: float, count: int
    ) -> list[FloatArray]:
        """As ``waveform``, of channels sampled together: they share what their sines are made of."""
        return self._history.waveforms(channels, start_s, sample_rate_hz, count)

    def balance(self) -> EnergyBalance:
        """Account for all energy since time zero."""
        source_out_j, source_in_j = self._history.source_energy_j()
        load = self._history.totals("load_ac")
        battery = self._history.totals("battery_dc")
        string = self.string
        out_j = source_in_j + load.energy_out_j - load.energy_in_j
        if self.standby is not None:
            standby = self._history.totals(STANDBY)
            source_out_j += standby.energy_in_j
            out_j += standby.energy_out_j
        if self.solar is not None:
            source_out_j += self._history.totals(SOLAR).energy_out_j
        string_loss_j = string.loss_j
        source_loss_j = self.spec.grid.source_resistance_ohm * self._history.source_current_square_a2s()
        losses_j = string_loss_j + self.converter.loss_j + source_loss_j + self._own_j
        stored_j = string.stored_change_j()
        return EnergyBalance(
            in_j=source_out_j,
            out_j=out_j,
            string_loss_j=string_loss_j,
            converter_loss_j=self.converter.loss_j,
            source_loss_j=source_loss_j,
            own_loss_j=self._own_j,
            stored_change_j=stored_j,
            residual_j=source_out_j - out_j - losses_j - stored_j,
            throughput_j=max(source_out_j + out_j, battery.energy_out_j + battery.energy_in_j, abs(stored_j)),
        )

    def _is_touched(self) -> bool:
        """Whether something was commanded, or planned for now, since the last ``_settle``."""
        if self._actions and self._actions[0][0] <= self.now_s:
            return True
        for part in self._parts:
            if part.touched:
                return True
        return (
            self.converter.touched
            or self.grid.touched
            or self.bms.touched
            or self.load.touched
            or self.string.touched
        )

    def _settle(self) -> None:
        """Let everything that is due at this instant happen, until nothing changes."""
        converter, bms = self.converter, self.bms
        self._standing = None
        # Each round needs a change of mode or contactor; twelve at once would be a fault of the model.
        for _ in range(12):
            while self._actions and self._actions[0][0] <= self.now_s:
                heapq.heappop(self._actions)[2]()
            self.load.touched = self.string.touched = False
            self.grid.settle()
            for part in self._parts:
                part.settle()
            self._tie()
            self._solve()
            self._judge()
            before = self._states()
            dc_voltage_v = self.string.voltage_v if bms.is_supplying else 0.0
            converter.settle(self._mains(), dc_voltage_v, self.load, self._sun)
            bms.settle()
            converter.dc_voltage_v = bms.link_voltage_v
            after = self._states()
            if before == after and not self._is_touched():
                if not converter.is_connected:
                    # The level of an island may have moved without a change of mode.
                    self._solve()
                return
        raise RuntimeError(f"plant: modes chase each other at {self.now_s} s: {after}")

    def _states(self) -> tuple[object, ...]:
        """What another round at the same instant follows from."""
        converter = self.converter
        return (
            converter.mode,
            converter.is_blocked,
            converter.alarms,
            converter.island_hz,
            self.bms.contactor_closed,
        )

    def _step(self, to_s: float) -> None:
        """Make one step, no further than ``to_s`` and the next event, and let what is due then happen."""
        now_s, converter = self.now_s, self.converter
        event_s = min(self._source_event_s(), converter.next_event_s, self.bms.next_event_s)
        end_s = min(to_s, event_s, now_s + self._battery_hint_s())
        if self._actions:
            end_s = min(end_s, self._actions[0][0])
        follows_s = math.inf
        if self._standing is None:
            follows_s = min(converter.step_hint_s, self._ramp_hint_s())
        elif self._stand(self._standing, end_s, event_s):
            return
        # What the battery leaves is that over a whole step, however short a step the current then needs.
        converter.prepare(self.string, end_s - now_s, self.load, self._sun)
        if converter.touched:
            self._settle()
            return
        follows_s = min(follows_s, converter.jump_hint_s)
        end_s = min(end_s, now_s + self._step_scale * follows_s)
        demand_w = self._move(end_s)
        self._draw(end_s, self._battery_current_a(demand_w, end_s - now_s))
        self._settle()
        power_w = converter.power_w
        if self._may_stand():
            self._standing = _Standing(power_w, converter.loss_w(power_w), self._source_event_s())

    def _source_event_s(self) -> float:
        """Next event of the sources and of what stands beside them: while nothing moves, a known one."""
        if self._standing is not None:
            return self._standing.event_s
        event_s = self.grid.next_event_s
        for part in self._parts:
            event_s = min(event_s, part.next_event_s)
        return event_s

    def _stand(self, standing: _Standing, end_s: float, event_s: float) -> bool:
        """Make a step of the battery alone; False where its limits do not leave the power that stands."""
        converter, bms, grid = self.converter, self.bms, self.grid
        duration_s = end_s - self.now_s
        power_w, loss_w, _ = standing
        current_a = self._battery_current_a(power_w + loss_w, duration_s)
        if not converter.allows(self.string, current_a, duration_s):
            return False
        grid.advance(end_s)
        for part in self._parts:
            part.advance(end_s)
        if self._alone is not None:
            self._alone.turns += self._alone.frequency_hz * duration_s
        converter.stand(end_s, power_w, loss_w)
        self._turn_bus(duration_s)
        self._history.lengthen(end_s)
        self._draw(end_s, current_a)
        actions = self._actions
        has_acted = bool(actions) and actions[0][0] <= end_s
        while actions and actions[0][0] <= end_s:
            heapq.heappop(actions)[2]()
        bms.settle()
        converter.dc_voltage_v = self.string.voltage_v if bms.is_supplying else bms.link_voltage_v
        # Without an action nothing but the battery's side can have been touched.
        if event_s <= end_s or bms.touched or self.string.touched or (has_acted and self._is_touched()):
            self._settle()
        return True

    def _may_stand(self) -> bool:
        """Whether nothing moves on the AC side until the next event."""
        grid, converter = self.grid, self.converter
        if not (converter.is_standing and grid.is_steady) or self.bms.is_precharging:
            return False
        if self._alone is not None and not self._alone.is_steady:
            return False
        for part in self._parts:
            if not part.is_steady:
                return False
        return self._history.goes_on(self._flow, *self._turning())

    def _turning(self) -> tuple[Turning, ...]:
        """Frames of mains, bus and second source as they stand."""
        grid, bus_hz = self.grid, self.converter.bus_hz
        bus = Turning(self._bus_turns, bus_hz, bus_hz)
        hertz = grid.frequency_hz
        # Without a source the mains' terminals hang at the bus.
        mains = bus if self._alone is not None else Turning(grid.turns, hertz, hertz)
        if self.standby is None:
            return mains, bus
        hertz = self.standby.frequency_hz
        return mains, bus, Turning(self.standby.turns, hertz, hertz)

    def _turned(self, before: tuple[Turning, ...]) -> tuple[Turning, ...]:
        """The same frames from then until now."""
        now = self._turning()
        frames = [Turning(then.turns, then.from_hz, to.to_hz) for then, to in zip(before, now, strict=True)]
        return tuple(frames)

    def _turn_bus(self, duration_s: float) -> None:
        converter = self.converter
        if converter.is_connected:
            self._bus_turns = (self._alone or self._frame).turns
        else:
            self._bus_turns += converter.island_hz * duration_s

    @property
    def _source(self) -> Source | None:
        """What the site is switched to; None in the gap of a transfer."""
        return self.grid if self.switch is None else self.switch.source

    @property
    def _sun(self) -> Infeed:
        """What the solar array gives."""
        solar = self.solar
        return network.NO_INFEED if solar is None else Infeed(solar.power_w, solar.limit_a)

    def _tie(self) -> None:
        """Find what the bus hangs at, and keep the converter's current where it is in space."""
        converter, island = self.converter, self._island
        was_fed, source = self._feed is not None, self._source
        self._feed = source if converter.is_connected and source is not None and source.is_live else None
        turns = self._bus_turns
        if self._feed is not None:
            self._frame = self._feed
            turns = self._feed.turns
            if island is not None:
                island.end()
        elif converter.is_connected:
            if island is not None and was_fed:
                positive_v = self._flow.positive_v
                angle = cmath.phase(positive_v)
                turns += angle / math.tau
                island.begin(abs(positive_v), turns, converter.current_a * cmath.rect(1.0, -angle))
            if island is None or not island.is_alive:
                turns = self._frame.turns
        elif island is not None:
            island.end()
        self._alone = island if island is not None and island.is_alive else None
        jump_turns = turns - self._bus_turns
        if jump_turns:
            self._bus_turns = turns
            # Whole turns that an island and its mains went apart are in no angle.
            jump_turns -= round(jump_turns)
            converter.turn_frame(jump_turns)
            self.load.jolt(jump_turns)

    def _judge(self) -> None:
        """Let what protects or switches itself look at what flows."""
        grid, flow = self.grid, self._flow
        if grid.is_protected:
            power_w = network.power_va(flow.grid_v, flow.grid_a).real
            grid.judge(power_w, network.magnitudes(flow.grid_a))
        if self.load.is_dynamic:
            self.load.judge()
        standby = self.standby
        if isinstance(standby, Generator):
            standby.feel(-network.power_va(flow.standby_v, flow.standby_a))
        elif standby is not None and standby.is_protected:
            power_w = network.power_va(flow.standby_v, flow.standby_a).real
            standby.judge(power_w, network.magnitudes(flow.standby_a))
        if self.solar is not None:
            forms = self.solar.spec.follows_islands and self.converter.formed_v > 0.0
            if self.converter.is_connected:
                self.solar.judge(is_fed=self._feed is not None, frequency_hz=self._mains_hz())
            else:
                self.solar.judge(is_fed=forms, frequency_hz=self.converter.island_hz)
        if self.switch is not None:
            self.switch.judge()

    def _move(self, end_s: float) -> float:
        """Let the AC side run to a time; returns the mean power out of the battery, in W."""
        converter, alone, grid = self.converter, self._alone, self.grid
        now_s = self.now_s
        duration_s = end_s - now_s
        before = self._solve()
        if converter.advance(end_s, before.positive_v):
            before = self._solve()
        mains = self._mains() if converter.protection.measures else None
        turning = self._turning()
        grid.advance(end_s)
        for part in self._parts:
            part.advance(end_s)
        if alone is not None:
            alone.advance(duration_s, before.pcs_a[0], converter.current_a)
            self._alone = alone if alone.is_alive else None
        converter.grid_hz = self._mains_hz()
        after = self._solve()
        if mains is not None:
            converter.watch(now_s, end_s, mains, self._mains())
        power_w = network.mean_power_va(before, after).real
        loss_w = converter.count(power_w, duration_s)
        self._history.add_ac(AcStretch(now_s, end_s, before, after, *self._turned(turning)))
        self._turn_bus(duration_s)
        return power_w + loss_w

    def _battery_current_a(self, power_w: float, duration_s: float) -> float:
        """Mean current of a coming step: for a power, or into what is not the converter."""
        if self.bms.is_supplying:
            return self.string.current_for_power_a(power_w, duration_s)
        return self.bms.own_current_a(duration_s)

    def _draw(self, end_s: float, current_a: float) -> None:
        """Let the battery give a current to a time, and stand there."""
        converter, string, bms = self.converter, self.string, self.bms
        now_s = self.now_s
        duration_s = end_s - now_s
        if bms.is_supplying:
            energy_j = string.step(current_a, duration_s)
            bms.advance(end_s)
            from_v, link_v = string.start_voltage_v, string.voltage_v
            converter.dc_current_a, converter.dc_power_w = current_a, energy_j / duration_s
        else:
            from_v = bms.link_voltage_v
            self._own_j += string.step(current_a, duration_s)
            bms.advance(end_s)
            link_v = bms.link_voltage_v
            current_a -= bms.own_load_a
            energy_j = current_a * duration_s * 0.5 * (from_v + link_v)
            converter.dc_current_a = converter.dc_power_w = 0.0
        self._history.add_dc(DcStretch(now_s, end_s, from_v, link_v, current_a), energy_j)
        if self.load.is_dead:
            self.load.dead_s += duration_s
        self.now_s = end_s

    def _battery_hint_s(self) -> float:
        is_resting = self.string.current_a == 0.0 and not self.converter.is_on
        hint_s = min(REST_STEP_S if is_resting else POWER_STEP_S, self.bms.step_hint_s)
        return hint_s * self._step_scale

    def _ramp_hint_s(self) -> float:
        """Step that follows a ramp of the source, and ends just beyond a protection level that it crosses."""
        alone, feed, grid = self._alone, self._feed, self.grid
        hint_s = grid.step_hint_s
        for part in self._parts:
            hint_s = min(hint_s, part.step_hint_s)
        if alone is not None:
            hint_s = min(hint_s, alone.step_hint_s)
        if hint_s == math.inf:
            return hint_s
        nearest_s = math.inf
        levels_v, load = self.converter.voltage_levels_v, self.load
        if feed is not None:
            for volts, live_v, slope in zip(feed.terminal_v, load.live_v, feed.slopes_v_per_s, strict=True):
                own_s = _reach_s(live_v, slope, load.levels_v)
                nearest_s = min(nearest_s, own_s, _reach_s(volts, slope, levels_v))
        elif alone is not None:
            nearest_s = _reach_s(alone.voltage_v, alone.slope_v_per_s, levels_v + load.levels_v)
        source = self._source
        if source is not None:
            levels_hz = self.converter.frequency_levels_hz
            nearest_s = min(nearest_s, _reach_s(source.frequency_hz, source.rocof_hz_per_s, levels_hz))
        # Just beyond: protections act strictly beyond their level, and the load is dead below its own.
        return min(hint_s, nearest_s + CROSSING_S)

    def _solve(self) -> Flow:
        """Bring the phasors up to date; the same object as before where nothing changed."""
        converter, grid, load = self.converter, self.grid, self.load
        emf_v = grid.emf_v if grid.is_relay_closed else None
        is_connected = converter.is_connected
        inner = converter.current_a if is_connected else converter.formed_v
        hertz = 0.0
        if self._has_frequency:
            hertz = self._mains_hz() if is_connected else converter.island_hz
        alone_v = 0.0 if self._alone is None else self._alone.voltage_v
        key = (is_connected, emf_v, inner, load.key, hertz, alone_v)
        more_key = self._more_key() if self._parts else None
        if key == self._flow_key and more_key == self._more:
            return self._flow
        flow = self._flow_at(emf_v, alone_v)
        self._flow, self._flow_key, self._more = flow, key, more_key
        converter.flow = flow
        grid.terminal_v = network.magnitudes(flow.grid_v)
        if self.standby is not None:
            self.standby.terminal_v = network.magnitudes(flow.standby_v)
        load.see(network.magnitudes(flow.bus_v))
        load.power_w = network.power_va(flow.bus_v, flow.load_a).real
        return flow

    def _more_key(self) -> object:
        """What the phasors depend on beside grid, converter and load."""
        standby, solar, feed = self.standby, self.solar, self._feed
        return (
            None if standby is None else (standby.is_live, standby.emf_v),
            0.0 if solar is None else solar.power_w,
            feed is not None and feed is standby,
            feed is None,
        )

    def _flow_at(self, emf_v: Phasors | None, alone_v: float) -> Flow:
        """Solve for the phasors of this instant."""
        converter, load, grid, standby, feed = self.converter, self.load, self.grid, self.standby, self._feed
        infeed = self._sun
        grid_v = emf_v or ZERO
        standby_v = standby.emf_v if standby is not None and standby.is_live else ZERO
        if not converter.is_connected:
            bus = network.formed(converter.formed_v, load, converter.island_hz, infeed)
            pcs_a = network.negated(bus.source_a)
            return Flow(
                grid_v, grid_v, bus.bus_v, pcs_a, bus.load_a, ZERO, standby_v=standby_v, solar_a=bus.solar_a
            )
        pcs_a = network.balanced(converter.current_a)
        if alone_v:
            bus_v = network.balanced(alone_v)
            at_mains = self._source is grid
            return Flow(ZERO, bus_v if at_mains else grid_v, bus_v, pcs_a, pcs_a, ZERO, standby_v=standby_v)
        if feed is None:
            load.live_at((0.0, 0.0, 0.0))
            if emf_v is None and standby is None:
                return self._dead
            return Flow(grid_v, grid_v, ZERO, ZERO, ZERO, ZERO, standby_v=standby_v)
        hertz = feed.frequency_hz
        bus = network.tie(feed.emf_v, feed.impedance_ohm, pcs_a, load, frequency_hz=hertz, solar=infeed)
        overtones: tuple[tuple[int, Flow], ...] = ()
        if isinstance(feed, Grid) and feed.spec.harmonics:
            overtones = network.overtones(
                feed.emf_v, feed.impedance_ohm, load, hertz, feed.spec.harmonics, is_standby=feed is standby
            )
        if feed is grid:
            return Flow(
                grid_v,
                bus.bus_v,
                bus.bus_v,
                pcs_a,
                bus.load_a,
                bus.source_a,
                standby_v=standby_v,
                solar_a=bus.solar_a,
                overtones=overtones,
            )
        return Flow(
            grid_v,
            grid_v,
            bus.bus_v,
            pcs_a,
            bus.load_a,
            ZERO,
            standby_v=bus.bus_v,
            standby_a=bus.source_a,
            solar_a=bus.solar_a,
            overtones=overtones,
        )

    def _mains_hz(self) -> float:
        """Frequency of what the converter sees on the mains side."""
        return (self._alone or self._source or self._frame).frequency_hz

    def _mains(self) -> Mains:
        source, alone = self._source, self._alone
        if alone is not None:
            return Mains((alone.voltage_v,) * 3, alone.frequency_hz, is_present=True, ahead_turns=0.0)
        if source is None:
            return Mains((0.0, 0.0, 0.0), self._frame.frequency_hz, is_present=False, ahead_turns=0.0)
        ahead = source.turns - self._bus_turns
        return Mains(source.terminal_v, source.frequency_hz, source.is_live, ahead - round(ahead))


class _Standing(NamedTuple):
    """What stands on the AC side.

    Attributes:
        power_w: out of the converter.
        loss_w: of the converter.
        event_s: when a source or another part moves again.
    """

    power_w: float
    loss_w: float
    event_s: float


class _Part(Protocol):
    """What the plant asks of a part with a life of its own.

    Attributes:
        touched: whether a command awaits ``settle``.
    """

    touched: bool

    @property
    def next_event_s(self) -> float:
        """Next instant at which something is due."""

    @property
    def is_steady(self) -> bool:
        """Whether it stands until then."""

    @property
    def step_hint_s(self) -> float:
        """Longest step that follows it; infinite while it stands."""

    def advance(self, to_s: float) -> None:
        """Let time pass."""

    def settle(self) -> None:
        """Let what is due at this instant happen."""


def _reach_s(value: float, slope: float, levels: tuple[float, ...]) -> float:
    """Time until a ramp reaches the next level ahead."""
    if slope == 0.0:
        return math.inf
    ahead = [(level - value) / slope for level in levels]
    return min((time_s for time_s in ahead if time_s > 0.0), default=math.inf)
