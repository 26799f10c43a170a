"""The mean over a window: closed forms of steps, ramps and jumps."""

import pytest

from harness.plant.moving_mean import MovingMean


def stepped(window_s, before, after, at_s=1.0):
    mean = MovingMean(window_s, 0.0)
    mean.run(0.0, at_s, before, before)
    mean.run(at_s, at_s + 1.0, after, after)
    return mean


def test_a_step_comes_through_as_a_ramp_of_the_window():
    mean = stepped(0.1, 1.0, 0.4)
    for part in (0.0, 0.25, 0.5, 1.0, 2.0):
        assert mean.mean(1.0 + 0.1 * part, 0.1) == pytest.approx(1.0 - 0.6 * min(part, 1.0), abs=1e-12)


def test_the_crossing_is_where_the_closed_form_says():
    mean = stepped(0.1, 1.0, 0.4)
    # W (a - c) / (a - b)
    assert mean.crossing_s(1.0, 1.1, 0.1, 0.7) == pytest.approx(1.05, abs=1e-10)
    assert mean.crossing_s(1.0, 1.3, 0.1, 0.45) == pytest.approx(1.0 + 0.1 * 0.55 / 0.6, abs=1e-10)


def test_a_ramp_is_seen_half_a_window_late():
    mean = MovingMean(0.2, 0.0)
    mean.run(0.0, 1.0, 50.0, 50.0)
    mean.run(1.0, 2.0, 50.0, 52.0)
    assert mean.mean(1.7, 0.2) == pytest.approx(50.0 + 2.0 * (0.7 - 0.1))
    # Beginning: quadratic.
    assert mean.mean(1.1, 0.2) == pytest.approx(50.0 + 0.5 * 2.0 * 0.1**2 / 0.2)


@pytest.mark.parametrize(("cycles", "reads_hz"), [(1.0, 3.333), (5.0, 0.667)])
def test_a_phase_jump_of_20_degrees_reads_as_a_frequency_for_one_window(cycles, reads_hz):
    window_s = cycles / 60.0
    mean = MovingMean(window_s, 0.0)
    mean.run(0.0, 1.0, 60.0, 60.0)
    mean.jump(1.0, 20.0 / 360.0)
    mean.run(1.0, 2.0, 60.0, 60.0)
    assert mean.mean(1.0 + 0.5 * window_s, window_s) - 60.0 == pytest.approx(reads_hz, abs=0.001)
    assert mean.mean(1.0 + 1.001 * window_s, window_s) == pytest.approx(60.0, abs=1e-9)


def test_pieces_of_a_stretch_are_worth_the_whole():
    whole, pieces = MovingMean(0.3, 0.0), MovingMean(0.3, 0.0)
    whole.run(0.0, 1.0, 1.0, 3.0)
    for part in range(200):
        pieces.run(part / 200, (part + 1) / 200, 1.0 + part / 100, 1.0 + (part + 1) / 100)
    for at_s in (0.31, 0.5, 0.987):
        assert pieces.mean(at_s, 0.3) == pytest.approx(whole.mean(at_s, 0.3), rel=1e-12)


def test_it_is_settled_one_window_after_the_last_change_worth_the_name():
    mean = MovingMean(0.1, 0.001)
    mean.run(0.0, 1.0, 1.0, 1.0)
    assert mean.settled_s <= 1.0
    mean.run(1.0, 2.0, 1.0, 1.0005)
    assert mean.settled_s <= 1.0
    mean.run(2.0, 3.0, 1.0005, 1.002)
    assert mean.settled_s == 3.1
