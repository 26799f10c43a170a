"""What hangs at load_ac, equal in its three phases, and the island that it keeps alive.

Each phase, with S = P (1 +- j tan phi) at nominal voltage and three phases together:

    constant impedance   Y = conj(S) / (3 V_n²)
    constant power       I = conj(S / 3 / V), nothing where it is dead
    parallel RLC         Y = P_R / (3 V_n²) + j (w C - 1 / (w L)), see RlcSpec
    inrush               Y = -j k m exp(-t / tau) |S| / (3 V_n²): the inductive fundamental of a magnetising
                         current, k times as large as the load's where it was dead for long before
    mismatch             m = |1 - exp(-g / tau_f - j d)|: flux that the new supply asks for less what is left
                         of the old, per unit, after a gap g in which it decays and a jump of the angle by d:
                         1 for a cold core, 2 sin(d / 2) where g is short, and 2 at 180 degrees, the worst

(The mismatch is the resultant voltage per hertz of out-of-phase transfers, which ANSI C50.41 bounds at 1.33
for motors; from memory. tau_f is ``FLUX_S``. That the inrush grows in proportion to it is ours.)

A phase is dead below the dead level, until above it by the dead band; the load is with one of its phases. Of
a constant power both are judged at the voltage that the source leaves while it draws: what would fall back in
the instant in which it draws again stays dead, and where no voltage carries it, it is dead. With a restart
delay the load draws nothing from then on, until its voltage was back for so long. The RLC load stays. To
harmonics the constant impedance is its conductance.

Not modelled: a dead constant power that tries again and again, one that comes back while coils and capacitors
alone hold the voltage, the offset and the harmonics of an inrush, its dependence on the instant of closing,
flux that stands still in a gap instead of turning on as a motor's does, what a sag does to it, saturation (an
inrush that grows faster than the mismatch), frequency dependence of the constant impedance at the
fundamental, transients of coils and capacitors while a source holds the voltage, stored energy inside the
load.
"""

from __future__ import annotations

import cmath
import math

from harness.plant.network import Triple
from harness.plant.spec import LoadKind, LoadSpec
from harness.plant.timers import Timers

INRUSH_ENDS = 1e-4
"""Part of the load's current below which an inrush counts as over: less than any instrument resolves."""


FLUX_S = 0.02
"""Decay of the flux without a supply (ours: a cycle, of the order of a loaded transformer's L / R)."""


class CriticalLoad:
    """What must never drop.

    Attributes:
        power_setpoint_w: three phases together, at nominal voltage, of what is no RLC circuit.
        terminal_v: line-to-neutral voltages that it sees.
        power_w: drawn at this instant.
        is_dead: whether a phase has no voltage that the load could live on.
        is_held: whether a source holds its voltage; without one no phase comes back.
        dead_s: time since zero in which it was dead.
        is_off: whether it died and has not come back yet; always false without a restart delay.
        constant_va: P + jQ drawn at any voltage, three phases together.
        wanted_va: the same of what is off.
        live_v: line-to-neutral voltages that it has, or would have if all that is dead drew.
        levels_v: of these, below which a phase dies, and above which it is back.
        key: everything that its current depends on beside voltage and frequency.
        touched: whether a command awaits the plant.
    """

    def __init__(self, spec: LoadSpec) -> None:
        self.spec = spec
        self.power_setpoint_w = 0.0
        self.terminal_v: Triple = (0.0, 0.0, 0.0)
        self.power_w = 0.0
        self.dead_s = 0.0
        self.is_off = False
        self.touched = False
        self.constant_va = self.wanted_va = 0j
        self.key: tuple[complex, ...] = (0j, 0j, 0j)
        self._admittance_s = 0j
        self._inrush_pu = 0.0
        self._has_voltage = False
        self._jumped_turns = 0.0
        self._lost_s = -math.inf
        self._timers = Timers()
        self._now_s = 0.0
        share = math.sqrt(1.0 / spec.power_factor**2 - 1.0)
        self._apparent = complex(1.0, -share if spec.is_capacitive else share)
        self._conductance_s, self._capacitance_f, self._susceptance_per_s = _circuit(spec)
        self._dead_below_v = spec.dead_below_pu * spec.nominal_voltage_v
        self._back_above_v = self._dead_below_v + spec.dead_band_pu * spec.nominal_voltage_v
        self.levels_v = (self._dead_below_v, self._back_above_v)
        self.is_held = True
        self._is_alive = (False, False, False)
        self.live_at(self.terminal_v)
        self.is_dead = not all(self._is_alive)
        self.set_power_w(spec.power_w)

    @property
    def is_dynamic(self) -> bool:
        """Whether it has a life of its own: inrush or restart."""
        return self.spec.inrush_factor > 0.0 or self.spec.restart_delay_s is not None

    @property
    def conductance_s(self) -> float:
        """Of each phase, constant power left out."""
        return self._admittance_s.real + self._conductance_s

    def voltage_v(self, phase: int) -> float:
        """Line-to-neutral voltage, phase 1 to 3."""
        return self.terminal_v[phase - 1]

    def set_power_w(self, power_w: float) -> None:
        """Set the power that it draws at nominal voltage; its power factor stays."""
        if not 0.0 <= power_w < float("inf"):
            raise ValueError(f"load: set_power_w({power_w}); allowed 0 and above")
        self.power_setpoint_w = power_w
        self._retune()

    def admittance_s(self, frequency_hz: float, *, is_harmonic: bool = False) -> complex:
        """Admittance of each phase at a frequency.

        Args:
            frequency_hz: above zero.
            is_harmonic: whether the frequency is a multiple of the fundamental: the constant impedance is
                then taken as its conductance alone.
        """
        own_s = complex(self._admittance_s.real, 0.0) if is_harmonic else self._admittance_s
        if not (self._capacitance_f or self._susceptance_per_s):
            return own_s + self._conductance_s
        omega = 2.0 * math.pi * frequency_hz
        return own_s + complex(
            self._conductance_s, omega * self._capacitance_f - self._susceptance_per_s / omega
        )

    def draws(self, phase: int, volts: float) -> bool:
        """Whether a phase, counted from 0, draws a constant power that leaves it a voltage."""
        if not self.constant_va:
            return False
        if self._is_alive[phase]:
            return volts >= self._dead_below_v
        return self.is_held and volts >= self._back_above_v

    def constant_power_a(self, voltage_v: complex) -> complex:
        """Phasor, positive sequence, of what a constant power draws at a balanced voltage."""
        volts = abs(voltage_v)
        phases = sum(self.draws(phase, volts) for phase in range(3))
        return (phases * self.constant_va / 9.0 / voltage_v).conjugate() if phases else 0j

    def live_at(self, volts: Triple) -> None:
        """Let each phase die or come back at the voltage that it has, or would have if it drew."""
        self.live_v = volts
        below_v, above_v = self.levels_v
        if min(volts) >= above_v and self.is_held:
            self._is_alive = (True, True, True)
            return
        one, two, three = (
            value >= below_v and (was_alive or (self.is_held and value >= above_v))
            for value, was_alive in zip(volts, self._is_alive, strict=True)
        )
        self._is_alive = (one, two, three)

    def see(self, terminal_v: Triple) -> None:
        """Have voltages at the terminals, after ``live_at``."""
        self.terminal_v = terminal_v
        self.is_dead = not all(self._is_alive)

    @property
    def next_event_s(self) -> float:
        """When it dies or comes back."""
        return self._timers.next_due_s

    @property
    def is_steady(self) -> bool:
        """Whether its admittance stands."""
        return self._inrush_pu == 0.0

    @property
    def step_hint_s(self) -> float:
        """A twentieth of the inrush's decay while it lasts: its chord is off by 3e-4 of it."""
        return math.inf if self._inrush_pu == 0.0 else self.spec.inrush_time_constant_s / 20.0

    def advance(self, to_s: float) -> None:
        """Let an inrush decay."""
        duration_s, self._now_s = to_s - self._now_s, to_s
        if self._inrush_pu:
            self._inrush_pu *= math.exp(-duration_s / self.spec.inrush_time_constant_s)
            if self._inrush_pu < INRUSH_ENDS:
                self._inrush_pu = 0.0
            self._retune()
            self.touched = False

    def settle(self) -> None:
        """Do nothing: it is judged once its voltage is known."""
        self.touched = False

    def jolt(self, turns: float) -> None:
        """Let the supply's angle jump, in turns."""
        if self._has_voltage and not self.is_off:
            self._rush(_mismatch(turns, 0.0))
        else:
            self._jumped_turns += turns

    def judge(self) -> None:
        """Look at the voltage of this instant: energised, dead or back."""
        spec, is_dead = self.spec, self.is_dead
        if spec.restart_delay_s is not None:
            held = self._timers.held
            if held("dead", self._now_s, spec.hold_up_s, is_true=is_dead and not self.is_off):
                self.is_off = True
                self._inrush_pu = 0.0
                self._retune()
            elif held("back", self._now_s, spec.restart_delay_s, is_true=self.is_off and not is_dead):
                self.is_off = False
                self._has_voltage = False
                # What falls back at once waits as long again.
                self._timers.clear("back")
                self._retune()
        is_fed = not is_dead and not self.is_off
        if is_fed and not self._has_voltage and self._now_s > 0.0:
            self._rush(_mismatch(self._jumped_turns, self._now_s - self._lost_s))
        if self._has_voltage and not is_fed:
            self._lost_s, self._jumped_turns = self._now_s, 0.0
        self._has_voltage = is_fed

    def _rush(self, part: float) -> None:
        if self.spec.inrush_factor * part > INRUSH_ENDS:
            self._inrush_pu = max(self._inrush_pu, self.spec.inrush_factor * part)
            self._retune()

    def _retune(self) -> None:
        """Bring admittance and power up to what is drawn."""
        apparent_va = 0j if self.is_off else self.power_setpoint_w * self._apparent
        square_v2 = 3.0 * self.spec.nominal_voltage_v**2
        admittance_s = complex(0.0, -self._inrush_pu * abs(apparent_va) / square_v2)
        if self.spec.kind is LoadKind.RESISTIVE:
            admittance_s += apparent_va.conjugate() / square_v2
        else:
            self.constant_va = apparent_va
            self.wanted_va = self.power_setpoint_w * self._apparent
        self._admittance_s = admittance_s
        self.key = (admittance_s, self.constant_va, self.wanted_va)
        self.touched = True

    def circuit(self) -> tuple[float, float]:
        """Capacitance and inverse inductance (in 1/H) of a phase of the RLC load; zeros without one."""
        return self._capacitance_f, self._susceptance_per_s


def _mismatch(turns: float, gap_s: float) -> float:
    """Of the flux, per unit, after a jump of the supply's angle and a gap."""
    return abs(1.0 - cmath.rect(math.exp(-gap_s / FLUX_S), math.tau * turns))


def _circuit(spec: LoadSpec) -> tuple[float, float, float]:
    """Conductance, capacitance and inverse inductance of a phase of the RLC load."""
    if spec.rlc is None:
        return 0.0, 0.0, 0.0
    rlc, square_v2 = spec.rlc, 3.0 * spec.nominal_voltage_v**2
    omega = 2.0 * math.pi * rlc.frequency_hz
    return (
        rlc.power_w / square_v2,
        rlc.capacitive_var / (omega * square_v2),
        rlc.inductive_var * omega / square_v2,
    )


class Island:
    """The bus without a source, alive as long as converter and resonant load keep it so.

    The positive sequence of its voltage V turns with the frame, so that it is real. With the converter's
    current i in that frame and each phase of the load as a parallel circuit, averaged over a cycle near the
    resonance (Krylov and Bogoliubov's method on C v'' + v' / R + v / L = i'):

        2 C dV/dt = Re(i) - G V - P_c / (3 V)                      active power: V² / R = P in the end
        w C - 1 / (w L) = (Im(i) - Im(i_load)) / V                 reactive power: w is its positive root

    so that at constant power the voltage runs to sqrt(P R) and the frequency to where coils and capacitors
    take what reactive power is left over; with none, to the resonance. Without current the circuit rings
    down with 2 R C. An island below ``DIES_PU`` is over. Its time constant 2 C / G is Q_f / (pi f_r).

    Not modelled: the second mode of the envelope (a swing of the frequency within the circuit's own time
    constant, of the order of (w - w_r)² / w_r²), unbalance, harmonics, direct current in the coils.

    Attributes:
        is_alive: whether there is a voltage that no source holds.
        voltage_v: line to neutral, RMS.
        frequency_hz: of the island.
        turns: angle of its voltage.
    """

    DIES_PU = 0.02
    """Of nominal voltage: nothing locks to it any more (ours)."""

    def __init__(self, load: CriticalLoad) -> None:
        self._load = load
        self._dies_v = self.DIES_PU * load.spec.nominal_voltage_v
        self.is_alive = False
        self.is_steady = True
        self.voltage_v = 0.0
        self.frequency_hz = 0.0
        self.turns = 0.0
        self.slope_v_per_s = 0.0
        self.emf_v = 0j

    def begin(self, voltage_v: float, turns: float, current_a: complex) -> None:
        """Take over a bus that its source has left.

        Args:
            voltage_v: of its positive sequence.
            turns: its angle.
            current_a: of the converter, in the frame of this voltage.
        """
        self.voltage_v, self.turns = voltage_v, turns
        self.is_alive = voltage_v > self._dies_v
        self._load.is_held = not self.is_alive
        self.feel(current_a)

    def end(self) -> None:
        """Give way to a source."""
        self.is_alive, self.is_steady = False, True
        self._load.is_held = True
        self.voltage_v = self.slope_v_per_s = 0.0

    def feel(self, current_a: complex) -> None:
        """Let frequency and slope follow the current that flows in now."""
        if not self.is_alive:
            return
        load, volts = self._load, self.voltage_v
        capacitance_f, per_henry = load.circuit()
        load.live_at((volts, volts, volts))
        # Everything but coils and capacitors: at their resonance the circuit is its conductance.
        resonance = math.sqrt(per_henry / capacitance_f)
        rest_a = volts * load.admittance_s(resonance / (2.0 * math.pi)) + load.constant_power_a(
            complex(volts)
        )
        gap_a = current_a - rest_a
        susceptance_s = gap_a.imag / volts
        root = math.sqrt(susceptance_s * susceptance_s + 4.0 * capacitance_f * per_henry)
        self.frequency_hz = (susceptance_s + root) / (4.0 * math.pi * capacitance_f)
        self.slope_v_per_s = gap_a.real / (2.0 * capacitance_f)
        # As near as a settled converter is to its reference.
        self.is_steady = abs(gap_a.real) <= 1e-7 * abs(rest_a.real)

    @property
    def step_hint_s(self) -> float:
        """A twentieth of the circuit's time constant while the voltage moves."""
        if self.is_steady or not self.is_alive:
            return math.inf
        tau_s = 2.0 * self._load.circuit()[0] / max(self._load.conductance_s, 1e-9)
        slow_s = 0.01 * self.voltage_v / max(abs(self.slope_v_per_s), 1e-12)
        return min(max(tau_s / 20.0, min(slow_s, tau_s / 4.0)), 0.1)

    def advance(self, duration_s: float, from_a: complex, to_a: complex) -> None:
        """Let time pass while the current runs linearly: exact for a constant impedance, however long."""
        if not self.is_alive:
            return
        load, volts, first_hz = self._load, self.voltage_v, self.frequency_hz
        capacitance_f = load.circuit()[0]
        self.feel(from_a)
        first = self.slope_v_per_s
        constant_a = load.constant_power_a(complex(volts)).real
        rate_per_s = (load.conductance_s - constant_a / volts) / (2.0 * capacitance_f)
        turn = rate_per_s * duration_s
        reach_s = -math.expm1(-turn) / rate_per_s if abs(turn) > 1e-6 else duration_s * (1.0 - 0.5 * turn)
        late_s = (duration_s - reach_s) / turn if abs(turn) > 1e-6 else 0.5 * duration_s
        growth = (to_a - from_a).real / (2.0 * capacitance_f)
        self.voltage_v = max(volts + first * reach_s + growth * late_s, 0.5 * self._dies_v)
        self.feel(to_a)
        self.turns += 0.5 * (first_hz + self.frequency_hz) * duration_s
        if self.voltage_v <= self._dies_v:
            self.end()
