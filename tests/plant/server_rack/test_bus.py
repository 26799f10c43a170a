"""The bus bar and its capacitance against closed forms and a fine integration."""

import math
from dataclasses import replace

import numpy as np
import pytest

from harness.plant.server_rack import RackPlant, steady, through
from harness.plant.server_rack.bus import Course, Line, Source, crossing_s, phi1, phi2, phi3, shelf_voltage_v

from .racks import EVEN, first_time, without_backup


@pytest.mark.parametrize("z", [-3.0, -0.3, -0.0101, -0.0099, 1e-9, 0.0099, 0.0101, 0.5, 2.0, 40.0])
def test_phi_functions_are_their_integrals(z):
    """phi_n(z) is the mean of exp(-z (1 - s)) s^(n-1) / (n-1)! over s from 0 to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    s, w = 0.5 * (nodes + 1.0), 0.5 * weights
    for n, phi in ((1, phi1), (2, phi2), (3, phi3)):
        expected = float(np.sum(w * np.exp(-z * (1.0 - s)) * s ** (n - 1))) / math.factorial(n - 1)
        assert phi(z) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("k", [-300.0, 0.0, 1.0, 3e4])
def test_a_course_solves_its_equation(k):
    course = Course(50.0, -2000.0, k)
    for time_s in (1e-6, 1e-4, 3e-3):
        step_s = 1e-3 * time_s
        slope = (course.x_v(time_s + step_s) - course.x_v(time_s - step_s)) / (2.0 * step_s)
        assert slope == pytest.approx(50.0 - 2000.0 * time_s - k * course.x_v(time_s), rel=1e-5, abs=1e-6)
        mean = np.mean(course.xs_v((np.arange(4000) + 0.5) / 4000 * time_s))
        assert course.mean_x_v(time_s) == pytest.approx(mean, rel=1e-5)


def test_a_crossing_is_found_just_beyond_it():
    course = Course(100.0, 0.0, 1000.0)  # x = 0.1 (1 - exp(-1000 t))
    found_s = crossing_s(Line(-0.05, 0.0, 1.0), course, 1.0)
    assert found_s == pytest.approx(math.log(2.0) / 1000.0, rel=1e-6)
    assert course.x_v(found_s) >= 0.05
    assert crossing_s(Line(-0.2, 0.0, 1.0), course, 1.0) == math.inf


def test_two_ends_of_the_bar_agree_with_every_source():
    sources = [Source(51.0, 0.01, 60.0), Source(50.9, 0.008, 5.0), Source(48.0, 0.008, 100.0)]
    for source in sources:
        source.is_on = True
    for bus_v in (51.5, 50.95, 50.5, 49.0, 47.0):
        shelf_v = shelf_voltage_v(bus_v, 2e-4, sources, 300.0, 50.0)
        current_a = sum(source.current_a(shelf_v) for source in sources) - 300.0 / shelf_v
        assert shelf_v == pytest.approx(bus_v + 2e-4 * current_a, abs=1e-6)


def test_a_bus_without_sources_gives_its_capacitors_energy():
    """C (V1² - V2²) / 2 = (P + bleed) t."""
    spec = without_backup(EVEN)
    spec = replace(spec, bus=replace(spec.bus, bleed_ohm=1e9), servers=replace(spec.servers, throttle_v=46.0))

    def make():
        rack = RackPlant(spec, steady(8000.0))
        rack.at(1.0, lambda: [rack.fail_rectifier(n) for n in range(6)])
        return rack

    rack = make()
    rack.advance(1.0)
    closed_s = 0.02 * (rack.bus_v**2 - 46.0**2) / 2.0 / 8000.0
    found_s = first_time(make, lambda r: not r.servers[0].is_input_closed, 2.0) - 1.0
    assert found_s == pytest.approx(closed_s, abs=1e-6)


def test_a_load_step_is_a_step_of_an_rc():
    """To first order: the difference of two levels, with tau = C / (1/R - P/V²)."""
    rack = RackPlant(EVEN, through([(0.0, 3000.0), (1.0, 3000.0), (1.0, 4500.0)]))
    rack.advance(2.0)
    ohm = EVEN.shelf.droop_ohm / 6 + EVEN.bus.resistance_ohm
    volts = rack.waveform("bus.u_v", 1.0, 1e6, 200)
    before_v, after_v = rack.waveform("bus.u_v", 0.99, 1000.0, 1)[0], rack.bus_v
    tau_s = 0.02 / (1.0 / ohm - 4500.0 / after_v**2 + 1.0 / 100.0)
    times_s = np.arange(200) / 1e6
    expected = after_v + (before_v - after_v) * np.exp(-times_s / tau_s)
    assert volts == pytest.approx(expected, abs=2e-4 * abs(before_v - after_v) + 1e-6)


def test_the_whole_course_agrees_with_a_fine_integration():
    """Runge-Kutta of fourth order at 0.2 us, with the power itself and not its tangent."""
    load = through([(0.0, 2000.0), (0.001, 2000.0), (0.002, 15_000.0), (0.004, 15_000.0), (0.004, 1000.0)])
    rack = RackPlant(EVEN, load)
    rack.advance(0.006)
    bus, shelf = EVEN.bus, EVEN.shelf
    ohm = shelf.droop_ohm / 6 + bus.resistance_ohm

    def power_w(time_s):
        if time_s < 0.004:
            return float(np.interp(time_s, [0.001, 0.002], [2000.0, 15_000.0]))
        return 1000.0

    def slope(time_s, v):
        return ((51.0 - v) / ohm - power_w(time_s) / v - v / bus.bleed_ohm) / bus.capacitance_f

    step_s = 2e-7
    v = rack.waveform("bus.u_v", 0.0, 1e6, 1)[0]
    found = rack.waveform("bus.u_v", 0.0, 1e5, 600)
    for n in range(int(0.006 / step_s)):
        if n % 50 == 0 and n // 50 < 600:
            assert found[n // 50] == pytest.approx(v, abs=2e-4)
        t = n * step_s
        # The load jumps at 4 ms, a multiple of the step: the stages at its end belong to the step before.
        end_s = t + step_s - 1e-12
        k1 = slope(t + 1e-12, v)
        k2 = slope(t + step_s / 2, v + step_s / 2 * k1)
        k3 = slope(t + step_s / 2, v + step_s / 2 * k2)
        k4 = slope(end_s, v + step_s * k3)
        v += step_s / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
