"""Forecasts against closed forms, and against the persistence that they have to beat."""

import math

import pytest

from harness.plant.energy import Forecast
from harness.plant.keyed import normal


def day_w(slot):
    """A day with a peak at noon."""
    return 1000.0 + 400.0 * math.sin(2.0 * math.pi * ((slot % 48) / 48.0 - 0.25))


def test_the_first_day_is_persistence():
    forecast = Forecast()
    for slot in range(10):
        forecast.observe(slot, day_w(slot))
    assert forecast.ahead_w(3) == (day_w(9),) * 3


def test_a_slot_is_smoothed_exponentially():
    forecast = Forecast(smoothing=0.25, persistence=0.0)
    for day, value_w in enumerate((100.0, 200.0, 400.0)):
        for slot in range(48):
            forecast.observe(48 * day + slot, value_w if slot == 7 else 0.0)
    # 100, then 100 + 0.25 * 100 = 125, then 125 + 0.25 * 275.
    assert forecast.ahead_w(8)[7] == pytest.approx(193.75)


def test_the_present_deviation_fades():
    forecast = Forecast(smoothing=0.5, persistence=0.6)
    for slot in range(48):
        forecast.observe(slot, 1000.0)
    forecast.observe(48, 1200.0)  # the profile takes half, the rest fades by 0.6 a slot
    assert forecast.ahead_w(3) == pytest.approx((1060.0, 1036.0, 1021.6))


def test_the_spread_of_a_slot_is_what_it_was_off_by_and_grows_with_the_horizon():
    forecast = Forecast(43_200.0, smoothing=0.5, persistence=0.6)
    for slot, mean_w in enumerate((100.0, 10.0, 140.0, 10.0, 100.0, 10.0)):
        forecast.observe(slot, mean_w)
    # Off by +40 from 100, then by -20 from 120: 1600, then 0.5 (1600 + 400); the other slot never.
    first_w, second_w, third_w, fourth_w = forecast.spread_w(4)
    assert first_w == pytest.approx(math.sqrt(1000.0 * (1.0 - 0.6**2)))
    assert third_w == pytest.approx(math.sqrt(1000.0 * (1.0 - 0.6**6)))
    assert second_w == fourth_w == 0.0
    assert Forecast().spread_w(3) == (0.0, 0.0, 0.0)


def test_a_forecast_is_never_below_zero():
    forecast = Forecast(persistence=1.0)
    for slot in range(48):
        forecast.observe(slot, 100.0 if slot < 24 else 1000.0)
    forecast.observe(48, 0.0)
    forecast.observe(49, 0.0)
    assert min(forecast.ahead_w(48)) == 0.0


def test_a_known_day_beats_persistence_at_every_horizon():
    forecast = Forecast()
    for slot in range(48 * 10):
        forecast.observe(slot, day_w(slot) + 20.0 * normal(3, "demand", slot))
    errors = forecast.errors()
    assert [error.horizon_s for error in errors] == [1800.0, 7200.0, 43_200.0]
    for error in errors[1:]:
        assert error.mean_absolute_w < 0.7 * error.persistence_mean_absolute_w
    assert errors[2].mean_absolute_w < 0.2 * errors[2].persistence_mean_absolute_w
    assert all(abs(error.bias_w) < 15.0 for error in errors)
    assert all(error.rms_w >= error.mean_absolute_w for error in errors)


def test_errors_are_those_of_the_forecasts_that_were_given():
    forecast = Forecast(judged_steps=(2,))
    given, off_w = [], []
    for slot in range(120):
        value_w = day_w(slot) + 30.0 * normal(1, "demand", slot)
        if slot >= 2:
            off_w.append(given[slot - 2] - value_w)
        forecast.observe(slot, value_w)
        given.append(forecast.ahead_w(2)[1])
    (error,) = forecast.errors()
    assert error.count == len(off_w)
    assert error.bias_w == pytest.approx(sum(off_w) / len(off_w))
    assert error.rms_w == pytest.approx(math.sqrt(sum(o * o for o in off_w) / len(off_w)))


@pytest.mark.parametrize(
    "change", [{"interval_s": 7000.0}, {"interval_s": 0.0}, {"smoothing": 0.0}, {"persistence": 1.1}]
)
def test_numbers_outside_of_their_range_are_refused(change):
    with pytest.raises(ValueError, match=r"forecast: interval_s=.*allowed"):
        Forecast(**change)
