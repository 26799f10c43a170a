"""A server rack from the AC source to the servers, advanced to the present whenever somebody looks.

A step ends at the next exact event (breakpoint of mains or load, timer, planned action, the look itself),
where a voltage crosses a level at which something changes, or where the bus has moved 0.1 V; it is as long
as nothing happens. Within a step the bus follows ``bus``'s closed form, packs give a constant power,
rectifiers a mean one. What halving all steps moves is in ``stated_error``.

The mains are stiff: ``grid`` shows its EMF at the rectifiers. Equations: in the modules beside this one.

Not modelled, beside what those leave out: impedance of the mains, current in the neutral, heat, air and fans,
voltage that differs from server to server, anything that talks to the shelf or the modules.
"""

from __future__ import annotations

import cmath
import heapq
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.plant.grid import Grid
from harness.plant.network import SEQUENCE, magnitudes
from harness.plant.server_rack.ai_load import Piece, Profile, steady
from harness.plant.server_rack.backup_unit import BackupModule
from harness.plant.server_rack.bus import Course, Line, Source, crossing_s, shelf_voltage_v
from harness.plant.server_rack.power_shelf import Phase, Rectifier, power_factor
from harness.plant.server_rack.servers import Draw, Server
from harness.plant.server_rack.spec import RackSpec
from harness.plant.spec import GridSpec

FloatArray = NDArray[np.float64]

MOST_V = 0.1
"""Way of the bus in one step."""

LONGEST_S = 60.0
"""Longest step."""

KEPT_S = 900.0
"""How much of the past waveforms can be made from."""

KEPT_STRETCHES = 200_000

CHANNELS = ("bus.u_v", "shelf.u_v", "shelf.i_a", "backup.i_a", "servers.i_a")
"""``bus`` is the servers' end of the bus bar, ``shelf`` the other; positive currents flow into the bus, of
``servers`` out of it."""


class Stretch(NamedTuple):
    """A step, or several equal ones, as it was: each channel as a line over time and course."""

    start_s: float
    end_s: float
    course: Course
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class RackBalance:
    """Where energy went since time zero, in J; the boundary lies at the mains and at the servers' heat.

    Attributes:
        in_j: out of the mains.
        used_j: turned to heat by the servers.
        shelf_loss_j: in the rectifiers.
        backup_loss_j: in output stages, chargers and cells.
        bus_loss_j: in the bus bar and what is always across it.
        stored_change_j: in bulk capacitors, bus, cells and the servers' stores.
        residual_j: what is left over: the numerical error.
    """

    in_j: float
    used_j: float
    shelf_loss_j: float
    backup_loss_j: float
    bus_loss_j: float
    stored_change_j: float
    residual_j: float

    @property
    def residual_fraction(self) -> float:
        """Residual over what was moved; zero where nothing was."""
        moved_j = max(abs(self.in_j), abs(self.used_j), abs(self.stored_change_j))
        return abs(self.residual_j) / moved_j if moved_j > 0.0 else 0.0


class RackPlant:
    """Power shelf, backup unit, bus and servers, sharing one time.

    Attributes:
        now_s: the time that everything stands at.
        grid: the AC source; play profiles and open its relay here.
        rectifiers: of the power shelf.
        modules: of the backup unit.
        servers: what must never drop.
        bus_v: voltage at the servers' end.
        shelf_v: voltage at the shelf's end, which rectifiers and backup modules see.
        least_shelf_v: lowest ``shelf_v`` since ``forget_extremes``.
        most_shelf_v: highest.
    """

    def __init__(self, spec: RackSpec, load: Profile | None = None, *, step_scale: float = 1.0) -> None:
        """Build the rack at time zero, everything running.

        Args:
            spec: what it is made of.
            load: power of all servers together; None: nothing.
            step_scale: of all step lengths that no event sets; for tests of the numerical error.

        Raises:
            ValueError: no rectifier, or no server.
        """
        if spec.shelf.rectifiers < 1 or spec.servers.count < 1:
            raise ValueError(
                f"rack: {spec.shelf.rectifiers} rectifiers, {spec.servers.count} servers; allowed 1 and above"
            )
        self.spec = spec
        self.now_s = 0.0
        self.grid = Grid(GridSpec(nominal_voltage_v=spec.nominal_voltage_v, frequency_hz=spec.frequency_hz))
        shelf, backup, seed = spec.shelf, spec.backup, spec.seed
        self.rectifiers = tuple(Rectifier(number, shelf, seed) for number in range(shelf.rectifiers))
        self.modules = tuple(
            BackupModule(number, backup, seed, step_scale=step_scale) for number in range(backup.modules)
        )
        self.servers = tuple(Server(number, spec.servers, seed) for number in range(spec.servers.count))
        outputs = [unit.output for unit in self.rectifiers] + [module.output for module in self.modules]
        self._sources: tuple[Source, ...] = tuple(outputs)
        self._load = load if load is not None else steady(0.0)
        self._piece = next(self._load)
        self._step_scale = step_scale
        self._actions: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._is_advancing = False
        self._touched = True
        self._uses: tuple[Draw, ...] = ()
        self._levels_v = sorted({level_v for server in self.servers for level_v in server.levels_v})
        self.bus_v = self.shelf_v = max(unit.output.set_v for unit in self.rectifiers)
        self._start_j = self._stored_j()
        self._bus_loss_j = 0.0
        self._stretches: list[Stretch] = []
        self.least_shelf_v = self.most_shelf_v = self.shelf_v
        self._settle()

    @property
    def ac_power_w(self) -> float:
        """Active power out of the mains."""
        return sum(unit.input_power_w for unit in self.rectifiers)

    @property
    def reactive_power_var(self) -> float:
        """Reactive power out of the mains; negative: it leads."""
        return sum(unit.reactive_power_var for unit in self.rectifiers)

    @property
    def power_factor(self) -> float:
        """Of the whole shelf."""
        return power_factor(self.ac_power_w, self.reactive_power_var, self.spec.shelf.current_distortion)

    @property
    def load_w(self) -> float:
        """What all servers turn to heat at this instant."""
        return sum(use.power_w for use in self._uses)

    @property
    def demand_w(self) -> float:
        """What the load profile asks for at this instant."""
        return self._piece.at_w(self.now_s)

    @property
    def resets(self) -> int:
        """Resets of all servers since time zero."""
        return sum(server.resets for server in self.servers)

    @property
    def is_signalling(self) -> bool:
        """Whether AC_LOSS is pulled: no rectifier that is there has input."""
        present = [unit for unit in self.rectifiers if not unit.is_failed]
        return bool(present) and all(unit.is_signalling for unit in present)

    @property
    def is_discharging(self) -> bool:
        """Whether a backup module runs."""
        return any(module.is_discharging for module in self.modules)

    @property
    def backup_soc(self) -> float:
        """Mean state of charge of the backup modules; zero without any."""
        return sum(module.pack.soc for module in self.modules) / max(len(self.modules), 1)

    @property
    def is_moving(self) -> bool:
        """Whether its input power changes: load or set-points on a ramp, bulk capacitors filling."""
        if self._piece.from_w != self._piece.to_w:
            return True
        return any(unit.output.slope_v_per_s != 0.0 or unit.is_refilling for unit in self.rectifiers)

    @property
    def next_event_s(self) -> float:
        """Next time at which something is known to happen; voltages may meet levels before."""
        units: tuple[Rectifier | BackupModule | Server, ...] = (
            *self.rectifiers,
            *self.modules,
            *self.servers,
        )
        timers = [unit.next_due_s for unit in units]
        planned_s = self._actions[0][0] if self._actions else math.inf
        return min(self.grid.next_event_s, self._piece.end_s, planned_s, *timers)

    def set_load(self, load: Profile) -> None:
        """Follow another profile from this instant on; its time zero is now."""
        start_s = self.now_s
        self._load = (Piece(start_s + p.start_s, start_s + p.end_s, p.from_w, p.to_w) for p in load)
        self._piece = next(self._load)
        self._touched = True

    def set_cap_w(self, power_w: float | None) -> None:
        """Cap the rack's power, shared equally among the servers; None lifts the cap.

        Raises:
            ValueError: below zero.
        """
        if power_w is not None and not power_w >= 0.0:
            raise ValueError(f"rack: set_cap_w({power_w}); allowed 0 and above, or None")
        for server in self.servers:
            server.cap_w = math.inf if power_w is None else power_w / len(self.servers)
        self._touched = True

    def force_ac_loss(self, *, is_forced: bool) -> None:
        """Let all rectifiers act as if their input were gone."""
        for unit in self.rectifiers:
            unit.forces_loss = is_forced
        self._touched = True

    def fail_rectifier(self, number: int) -> None:
        """Pull a rectifier, from 0."""
        self.rectifiers[number].fail()
        self._touched = True

    def replace_rectifier(self, number: int) -> None:
        """Put a new one in its place."""
        self.rectifiers[number].replace()
        self._touched = True

    def fail_module(self, number: int) -> None:
        """Pull a backup module, from 0."""
        self.modules[number].fail()
        self._touched = True

    def forget_extremes(self) -> None:
        """Begin ``least_shelf_v`` and ``most_shelf_v`` anew."""
        self.least_shelf_v = self.most_shelf_v = self.shelf_v

    def at(self, time_s: float, action: Callable[[], None]) -> None:
        """Run an action inside ``advance`` at exactly this time; equal times in the order they were planned.

        Raises:
            ValueError: the time lies in the past.
        """
        if time_s < self.now_s:
            raise ValueError(f"rack: at({time_s}) from {self.now_s} s; allowed the present and later")
        heapq.heappush(self._actions, (time_s, next(self._order), action))

    def advance(self, to_s: float) -> None:
        """Bring everything to a time; at the present time, let what was commanded act.

        Raises:
            ValueError: the time lies in the past.
        """
        if to_s < self.now_s:
            raise ValueError(f"rack: advance({to_s}) from {self.now_s} s; allowed the present and later")
        if self._is_advancing:
            if to_s > self.now_s:
                raise ValueError(f"rack: advance({to_s}) within an action at {self.now_s} s")
            return
        self._is_advancing = True
        try:
            if self._touched or self.grid.touched or self.next_event_s <= self.now_s:
                self._settle()
            while self.now_s < to_s:
                self._step(to_s)
        finally:
            self._is_advancing = False

    def balance(self) -> RackBalance:
        """Account for all energy since time zero."""
        in_j = sum(unit.input_j for unit in self.rectifiers)
        used_j = sum(server.used_j for server in self.servers)
        shelf_j = sum(unit.loss_j for unit in self.rectifiers)
        backup_j = sum(module.stage_loss_j + module.pack.heat_j for module in self.modules)
        stored_j = self._stored_j() - self._start_j
        return RackBalance(
            in_j=in_j,
            used_j=used_j,
            shelf_loss_j=shelf_j,
            backup_loss_j=backup_j,
            bus_loss_j=self._bus_loss_j,
            stored_change_j=stored_j,
            residual_j=in_j - used_j - shelf_j - backup_j - self._bus_loss_j - stored_j,
        )

    def waveform(self, channel: str, start_s: float, sample_rate_hz: float, count: int) -> FloatArray:
        """Instantaneous values of one of ``CHANNELS``; the sample at a jump is the one after it.

        Raises:
            ValueError: no such channel, or a window that is not in the kept past.
        """
        if channel not in CHANNELS:
            raise ValueError(f"rack: no channel {channel!r}; there are {', '.join(CHANNELS)}")
        place = CHANNELS.index(channel)
        end_s = start_s + count / sample_rate_hz
        first_s = self._stretches[0].start_s if self._stretches else 0.0
        # A nanosecond of slack: a window may end at now by another sum of the same durations.
        if start_s < first_s - 1e-9 or end_s > self.now_s + 1e-9:
            raise ValueError(
                f"rack: waveform of {channel} from {start_s} s to {end_s} s; "
                f"kept {first_s} s to {self.now_s} s"
            )
        times_s = start_s + np.arange(count) / sample_rate_hz
        starts_s = np.array([stretch.start_s for stretch in self._stretches])
        index = np.clip(np.searchsorted(starts_s, times_s, side="right") - 1, 0, len(starts_s) - 1)
        found = np.zeros(count)
        for number in np.unique(index):
            stretch = self._stretches[int(number)]
            mask = index == number
            since_s = np.maximum(times_s[mask] - stretch.start_s, 0.0)
            line = stretch.lines[place]
            found[mask] = line.at + line.rate * since_s + line.gain * stretch.course.xs_v(since_s)
        return found

    def _stored_j(self) -> float:
        bulk_j = sum(unit.bulk_j for unit in self.rectifiers)
        packs_j = sum(module.pack.energy_j for module in self.modules)
        stores_j = sum(server.store_j for server in self.servers)
        return bulk_j + packs_j + stores_j + 0.5 * self.spec.bus.capacitance_f * self.bus_v**2

    def _charge_w(self) -> float:
        return sum(module.charge_w for module in self.modules)

    def _charge_w_per_s(self) -> float:
        return sum(module.charge_slope_w_per_s for module in self.modules)

    def _look(self) -> None:
        """Bring voltages and powers of this instant up to date."""
        grid = self.grid
        grid.terminal_v = volts = magnitudes(grid.emf_v) if grid.is_relay_closed else (0.0, 0.0, 0.0)
        slopes = grid.slopes_v_per_s if grid.is_relay_closed else (0.0, 0.0, 0.0)
        hertz = grid.frequency_hz
        phases = tuple(
            Phase(
                volts[n], slopes[n], hertz, grid.turns + cmath.phase(emf_v or SEQUENCE[n]) / (2.0 * math.pi)
            )
            for n, emf_v in enumerate(grid.emf_v)
        )
        self.shelf_v = shelf_voltage_v(
            self.bus_v, self.spec.bus.resistance_ohm, self._sources, self._charge_w(), self.shelf_v
        )
        for unit in self.rectifiers:
            unit.phase = phases[unit.number % 3]
            unit.look(self.shelf_v)
        for module in self.modules:
            module.look(self.shelf_v)
        piece = self._piece
        share_w = piece.at_w(self.now_s) / len(self.servers)
        slope = piece.slope_w_per_s / len(self.servers)
        self._uses = tuple(server.use(share_w, slope) for server in self.servers)
        self.least_shelf_v = min(self.least_shelf_v, self.shelf_v)
        self.most_shelf_v = max(self.most_shelf_v, self.shelf_v)

    def _settle(self) -> None:
        """Let everything that is due at this instant happen, until nothing changes."""
        now_s = self.now_s
        # Each round needs a change of some unit's state; so many would be a fault of the model.
        for _ in range(50):
            self._touched = False
            while self._actions and self._actions[0][0] <= now_s:
                heapq.heappop(self._actions)[2]()
            self.grid.settle()
            while self._piece.end_s <= now_s:
                self._piece = next(self._load)
            self._look()
            changed = [unit.settle(now_s, self.shelf_v) for unit in self.rectifiers]
            feeding = sum(unit.is_taking and unit.output.is_on for unit in self.rectifiers)
            is_fed = feeding > 0
            share = 1.0 / max(len(self.modules), 1)
            most_w = min(self.spec.shelf.rating_w, feeding * self.spec.shelf.rated_power_w)
            spare_w = share * (most_w - sum(use.power_w for use in self._uses))
            spare_w_per_s = -share * sum(use.slope_w_per_s for use in self._uses)
            is_signalling = self.is_signalling
            changed += [
                module.settle(
                    now_s,
                    self.shelf_v,
                    is_signalled=is_signalling,
                    is_fed=is_fed,
                    spare_w=spare_w,
                    spare_w_per_s=spare_w_per_s,
                )
                for module in self.modules
            ]
            changed += [server.settle(now_s, self.bus_v) for server in self.servers]
            # The look of a round in which nothing changed is that of the present.
            if not any(changed) and not self._touched and not self.grid.touched:
                return
        raise RuntimeError(f"rack: states chase each other at {now_s} s, bus {self.bus_v} V")

    def _step(self, to_s: float) -> None:
        """Make one step, no further than ``to_s`` and the next event, and let what is due then happen."""
        now_s, bus, scale = self.now_s, self.spec.bus, self._step_scale
        until_s = min(to_s, self.next_event_s) - now_s
        until_s = min(until_s, LONGEST_S * scale, self.grid.step_hint_s * scale)
        power_w = slope_w = 0.0
        for server, use in zip(self.servers, self._uses, strict=True):
            draw = server.draw(use)
            power_w, slope_w = power_w + draw.power_w, slope_w + draw.slope_w_per_s
            until_s = min(until_s, use.until_s, server.until_s(use))
        for unit in self.rectifiers:
            until_s = min(until_s, unit.until_s())
        for module in self.modules:
            until_s = min(until_s, module.until_s())

        # Currents around this instant: sources a + a' t - b U, loads as tangents.
        bus_v, shelf_v = self.bus_v, self.shelf_v
        a = rate = b = 0.0
        for source in self._sources:
            line = source.line(shelf_v)
            a, rate, b = a + line[0], rate + line[1], b + line[2]
        charge_w, charge_w_per_s = self._charge_w(), self._charge_w_per_s()
        if charge_w:
            a -= 2.0 * charge_w / shelf_v
            b -= charge_w / (shelf_v * shelf_v)
        if charge_w_per_s:
            rate -= charge_w_per_s / shelf_v
        divisor = 1.0 + b * bus.resistance_ohm
        bar = Line((a - b * bus_v) / divisor, rate / divisor, -b / divisor)
        gain_s = 1.0 / bus.bleed_ohm - (power_w / (bus_v * bus_v) if power_w else 0.0)
        drawn_a = bus_v / bus.bleed_ohm + (power_w / bus_v if power_w else 0.0)
        drawn_rate = slope_w / bus_v if slope_w else 0.0
        course = Course(
            (bar.at - drawn_a) / bus.capacitance_f,
            (bar.rate - drawn_rate) / bus.capacitance_f,
            (gain_s - bar.gain) / bus.capacitance_f,
        )
        if course.is_standing:
            course = Course(0.0, 0.0, 0.0)
        shelf = Line(
            bus_v + bus.resistance_ohm * bar.at,
            bus.resistance_ohm * bar.rate,
            1.0 + bus.resistance_ohm * bar.gain,
        )
        until_s = self._first_crossing_s(course, shelf, until_s)
        end_s = now_s + until_s
        if end_s <= now_s:  # a step below the clock's resolution
            end_s = math.nextafter(now_s, math.inf)
        self._commit(min(end_s, to_s), course, shelf, bar)
        self._settle()

    def _first_crossing_s(self, course: Course, shelf: Line, until_s: float) -> float:
        """Shorten a step to where a voltage has just crossed a level."""
        is_standing = course.f0 == course.f1 == 0.0
        if is_standing and shelf.rate == 0.0 and not any(s.slope_v_per_s for s in self._sources):
            return until_s
        if course.k < 0.0:
            until_s = min(until_s, 5.0 / -course.k)  # a runaway: as far as numbers go
        elif course.f1 == 0.0 and course.k > 0.0:
            until_s = min(until_s, 30.0 / course.k)  # then a new tangent, where it has come to
        most_v = MOST_V * self._step_scale
        x_v = course.x_v(until_s)
        if abs(x_v) > most_v:
            until_s = crossing_s(Line(-math.copysign(most_v, x_v), 0.0, 1.0), course, until_s)
            x_v = course.x_v(until_s)
        ahead: list[Line] = []
        if x_v != 0.0:
            low_v, high_v = min(0.0, x_v), max(0.0, x_v)
            levels_v = self._levels_v
            first = bisect_left(levels_v, self.bus_v + low_v)
            last = bisect_right(levels_v, self.bus_v + high_v)
            ahead += [Line(self.bus_v - level_v, 0.0, 1.0) for level_v in levels_v[first:last]]
        end_v = shelf.value(until_s, x_v)
        watched = [(self.spec.backup.trigger_v, 0.0), (self.spec.shelf.limit_below_v, 0.0)]
        for source in self._sources:
            watched += source.kinks()
        for kink_v, slope in watched:
            if (shelf.at > kink_v) != (end_v > kink_v + slope * until_s):
                ahead.append(Line(shelf.at - kink_v, shelf.rate - slope, shelf.gain))
        for line in ahead:
            until_s = min(until_s, crossing_s(line, course, until_s))
        return until_s

    def _commit(self, end_s: float, course: Course, shelf: Line, bar: Line) -> None:
        """Let a step happen."""
        spec, duration_s = self.spec.bus, end_s - self.now_s
        x_v, mean_x_v = course.x_v(duration_s), course.mean_x_v(duration_s)
        mean_shelf_v = shelf.value(0.5 * duration_s, mean_x_v)
        mean_bar_a = bar.value(0.5 * duration_s, mean_x_v)
        # All runs nearly straight: a mean product is that of the means and a twelfth of the ways'.
        way_v = shelf.value(duration_s, x_v) - shelf.at
        way_a = bar.value(duration_s, x_v) - bar.at
        self._note(end_s, course, shelf, bar)
        units: tuple[Rectifier | BackupModule, ...] = (*self.rectifiers, *self.modules)
        for unit in units:
            source = unit.output
            a, rate, b = source.line(self.shelf_v)
            mean_a = max(a + 0.5 * rate * duration_s - b * mean_shelf_v, 0.0)
            apart_w = way_v * (rate * duration_s - b * way_v) / 12.0
            unit.step(max(mean_shelf_v * mean_a + apart_w, 0.0), duration_s)
        for server, use in zip(self.servers, self._uses, strict=True):
            server.step(use, duration_s)
        mean_bus_v = self.bus_v + mean_x_v
        self._bus_loss_j += duration_s * (
            (mean_bar_a**2 + way_a**2 / 12.0) * spec.resistance_ohm
            + (mean_bus_v**2 + x_v**2 / 12.0) / spec.bleed_ohm
        )
        self.bus_v += x_v
        self.shelf_v = shelf.value(duration_s, x_v)
        self.grid.advance(end_s)
        self.now_s = end_s

    def _note(self, end_s: float, course: Course, shelf: Line, bar: Line) -> None:
        """Keep a step for waveforms; a standing one lengthens the one before."""
        by_group: list[Line] = []
        groups: tuple[tuple[Rectifier | BackupModule, ...], ...] = (self.rectifiers, self.modules)
        for units in groups:
            a = rate = b = 0.0
            for unit in units:
                line = unit.output.line(self.shelf_v)
                a, rate, b = a + line[0], rate + line[1], b + line[2]
            by_group.append(Line(a - b * shelf.at, rate - b * shelf.rate, -b * shelf.gain))
        taken_w, taken_w_per_s = self._charge_w(), self._charge_w_per_s()
        if taken_w or taken_w_per_s:
            given = by_group[1]
            at, rate = given.at - taken_w / self.shelf_v, given.rate - taken_w_per_s / self.shelf_v
            by_group[1] = given._replace(at=at, rate=rate)
        lines = (Line(self.bus_v, 0.0, 1.0), shelf, *by_group, bar)
        stretches = self._stretches
        if stretches and course.f0 == course.f1 == 0.0:
            last = stretches[-1]
            if last.course == course and last.lines == lines:
                stretches[-1] = last._replace(end_s=end_s)
                return
        stretches.append(Stretch(self.now_s, end_s, course, lines))
        lot = 1024
        if len(stretches) > KEPT_STRETCHES or (
            len(stretches) > 2 * lot and stretches[lot].end_s < self.now_s - KEPT_S
        ):
            del stretches[:lot]
