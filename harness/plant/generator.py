"""A stand-by generator: its start, its speed and its voltage.

Speed w and engine power p in per unit, with the electrical power p_e that the network asks for:

    2 H dw/dt = p - p_e                          swing of the shaft
    T_g dp/dt = (1 - w) / droop - p              first-order governor, cut to what the engine gives

so that a load step ends at f = f_0 (1 - droop p_e), starts with a slope of -f_0 p_e / (2 H), and swings with
2 H T_g s² + 2 H s + 1 / droop = 0 between (Kundur, Power System Stability and Control, 1994, chapter 11, from
memory). The voltage is an EMF behind R + j X'd, which the regulator moves until the terminals stand at their
reference: dE/dt = (V_ref - V) / T_r. Both are integrated by Runge-Kutta, with the power of a step's start.

A start takes ``start_s`` an attempt; an attempt fails by script or by a keyed draw. Overload, power that
flows back, and a speed that is too low stop it.

Not modelled: fuel, batteries of the starter, voltage and speed while it runs up (nothing hangs on it then),
saturation, sub-transient and negative-sequence reactance, smoke limit and turbo lag, harmonics.
"""

from __future__ import annotations

import math
from enum import Enum
from statistics import NormalDist

from harness.plant.keyed import normal
from harness.plant.network import ZERO, Phasors, Triple, balanced
from harness.plant.spec import GeneratorSpec
from harness.plant.timers import Timers

OVERLOAD = "overload"
REVERSE_POWER = "reverse_power"
UNDER_SPEED = "under_speed"
NO_START = "no_start"

_SETTLED = 1e-7
"""Per unit of speed, power and voltage: what is nearer to its rest stands."""


class GeneratorState(Enum):
    """What a generator is about."""

    STOPPED = "stopped"
    CRANKING = "cranking"
    RESTING = "resting"
    WARMING = "warming up"
    READY = "ready"
    COOLING = "cooling down"


_ALIVE = frozenset({GeneratorState.WARMING, GeneratorState.READY, GeneratorState.COOLING})


class Generator:
    """The machine behind the second input of a transfer switch.

    Attributes:
        state: what it is about.
        fault: why it stopped or did not start; empty while nothing is wrong.
        failing_starts: attempts from now on that fail by script.
        turns: angle of phase 1.
        emf_v: phasors behind its reactance.
        terminal_v: line-to-neutral voltages at its terminals.
        touched: whether a command awaits ``settle``.
    """

    def __init__(self, spec: GeneratorSpec, seed: int) -> None:
        self.spec = spec
        base_ohm = 3.0 * spec.nominal_voltage_v**2 / spec.rated_apparent_power_va
        self.impedance_ohm = base_ohm * complex(spec.resistance_pu, spec.transient_reactance_pu)
        self.state = GeneratorState.STOPPED
        self.fault = ""
        self.failing_starts = 0
        self.turns = 0.0
        self.emf_v: Phasors = ZERO
        self.terminal_v: Triple = (0.0, 0.0, 0.0)
        self.touched = False
        self._seed = seed
        self._now_s = 0.0
        self._until_s = math.inf
        self._attempt = 0
        self._tries = 0
        self._speed = self._engine = self._volts = 0.0
        self._power_pu = 0.0
        self._reference_v = spec.nominal_voltage_v
        self._timers = Timers()

    @property
    def is_live(self) -> bool:
        """Whether there is a voltage behind its terminals."""
        return self.state in _ALIVE

    @property
    def is_ready(self) -> bool:
        """Whether it may take load."""
        return self.state is GeneratorState.READY

    @property
    def frequency_hz(self) -> float:
        """Of its voltage; zero at standstill."""
        return self._speed * self.spec.frequency_hz

    @property
    def nominal_voltage_v(self) -> float:
        """Line to neutral."""
        return self.spec.nominal_voltage_v

    @property
    def nominal_hz(self) -> float:
        """At no load."""
        return self.spec.frequency_hz

    @property
    def rocof_hz_per_s(self) -> float:
        """Change of its frequency."""
        swing = (self._engine - self._power_pu) / (2.0 * self.spec.inertia_s)
        return swing * self.spec.frequency_hz if self.is_live else 0.0

    @property
    def slopes_v_per_s(self) -> Triple:
        """Change of the voltage at its terminals, as the regulator moves its EMF."""
        slope = (self._reference_v - self._measured_v()) / self.spec.regulator_time_constant_s
        return (slope, slope, slope) if self.is_live else (0.0, 0.0, 0.0)

    @property
    def next_event_s(self) -> float:
        """End of a start, a rest, a warm-up; a protection that is due."""
        return min(self._until_s, self._timers.next_due_s)

    @property
    def is_steady(self) -> bool:
        """Whether speed and voltage have come to rest."""
        if not self.is_live:
            return True
        wanted = self._wanted(self._speed)
        return (
            abs(self._engine - self._power_pu) < _SETTLED
            and abs(wanted - self._engine) < _SETTLED
            and abs(self._reference_v - self._measured_v()) < _SETTLED * self._reference_v
        )

    @property
    def step_hint_s(self) -> float:
        """A twentieth of the faster of governor and regulator while they act."""
        spec = self.spec
        if self.is_steady:
            return math.inf
        return 0.05 * min(spec.governor_time_constant_s, spec.regulator_time_constant_s)

    def start(self) -> None:
        """Start; does nothing while it runs or tries to."""
        if self.state is GeneratorState.STOPPED:
            self.fault = ""
            self._tries = 0
            self._crank()
        elif self.state is GeneratorState.COOLING:
            self._enter(GeneratorState.READY, math.inf)

    def stop(self) -> None:
        """Cool down and stop; at once while it does not run yet."""
        if self.state is GeneratorState.READY and self.spec.cool_down_s > 0.0:
            self._enter(GeneratorState.COOLING, self._now_s + self.spec.cool_down_s)
        elif self.state is not GeneratorState.COOLING:
            self._halt("")

    def feel(self, power_va: complex) -> None:
        """Take what the network draws from its terminals at this instant, and let its protections look."""
        spec = self.spec
        if not self.is_live:
            return
        self._power_pu = power_va.real / spec.rated_power_w
        droop = spec.voltage_droop * power_va.imag / spec.rated_apparent_power_va
        self._reference_v = spec.nominal_voltage_v * (1.0 - droop)
        held, now_s = self._timers.held, self._now_s
        for name, delay_s, is_beyond in (
            (OVERLOAD, spec.overload_delay_s, self._power_pu > spec.overload_pu),
            (REVERSE_POWER, spec.reverse_delay_s, self._power_pu < -spec.reverse_power_pu),
            (UNDER_SPEED, spec.slow_delay_s, self._speed < spec.slow_pu),
        ):
            if held(name, now_s, delay_s, is_true=is_beyond):
                self._halt(name)
                return

    def advance(self, to_s: float) -> None:
        """Run to a time with the power felt last."""
        duration_s, self._now_s = to_s - self._now_s, to_s
        if not self.is_live:
            return
        before_hz = self.frequency_hz
        if not self.is_steady:
            self._swing(duration_s)
            part = -math.expm1(-duration_s / self.spec.regulator_time_constant_s)
            self._volts = max(self._volts + part * (self._reference_v - self._measured_v()), 0.0)
            self.emf_v = balanced(self._volts)
        self.turns += 0.5 * (before_hz + self.frequency_hz) * duration_s

    def settle(self) -> None:
        """Pass what is due at this instant."""
        self.touched = False
        if self._now_s < self._until_s:
            return
        if self.state is GeneratorState.CRANKING:
            self._end_attempt()
        elif self.state is GeneratorState.RESTING:
            self._crank()
        elif self.state is GeneratorState.WARMING:
            self._enter(GeneratorState.READY, math.inf)
        else:
            self._halt("")

    def _crank(self) -> None:
        self._tries += 1
        self._attempt += 1
        self._enter(GeneratorState.CRANKING, self._now_s + self.spec.start_s)

    def _end_attempt(self) -> None:
        spec = self.spec
        if self._fails():
            if self._tries >= spec.attempts:
                self._halt(NO_START)
            else:
                self._enter(GeneratorState.RESTING, self._now_s + spec.rest_s)
            return
        self._speed, self._engine, self._power_pu = 1.0, 0.0, 0.0
        self._volts = self._reference_v = spec.nominal_voltage_v
        self.emf_v = balanced(self._volts)
        self.terminal_v = (self._volts,) * 3
        if spec.warm_up_s > 0.0:
            self._enter(GeneratorState.WARMING, self._now_s + spec.warm_up_s)
        else:
            self._enter(GeneratorState.READY, math.inf)

    def _fails(self) -> bool:
        if self.failing_starts > 0:
            self.failing_starts -= 1
            return True
        probability = self.spec.start_failure_probability
        if not 0.0 < probability < 1.0:
            return probability >= 1.0
        return normal(self._seed, "generator start", self._attempt) < NormalDist().inv_cdf(probability)

    def _halt(self, fault: str) -> None:
        self.fault = fault
        self._speed = self._engine = self._power_pu = self._volts = 0.0
        self.emf_v = ZERO
        self._timers.clear()
        self._enter(GeneratorState.STOPPED, math.inf)

    def _enter(self, state: GeneratorState, until_s: float) -> None:
        self.state, self._until_s = state, until_s
        self.touched = True

    def _measured_v(self) -> float:
        one, two, three = self.terminal_v
        return (one + two + three) / 3.0

    def _wanted(self, speed: float) -> float:
        """Power that the governor asks of the engine."""
        return min(max((1.0 - speed) / self.spec.droop, 0.0), self.spec.most_power_pu)

    def _slopes(self, speed: float, engine: float) -> tuple[float, float]:
        spec = self.spec
        return (
            (engine - self._power_pu) / (2.0 * spec.inertia_s),
            (self._wanted(speed) - engine) / spec.governor_time_constant_s,
        )

    def _swing(self, duration_s: float) -> None:
        """Fourth-order Runge-Kutta; a step longer than the hint is cut."""
        most_s = 0.1 * self.spec.governor_time_constant_s
        steps = max(1, math.ceil(duration_s / most_s))
        h = duration_s / steps
        speed, engine = self._speed, self._engine
        for _ in range(steps):
            a, p = self._slopes(speed, engine)
            b, q = self._slopes(speed + 0.5 * h * a, engine + 0.5 * h * p)
            c, r = self._slopes(speed + 0.5 * h * b, engine + 0.5 * h * q)
            d, s = self._slopes(speed + h * c, engine + h * r)
            speed += h * (a + 2.0 * b + 2.0 * c + d) / 6.0
            engine += h * (p + 2.0 * q + 2.0 * r + s) / 6.0
        self._speed, self._engine = max(speed, 0.0), engine
