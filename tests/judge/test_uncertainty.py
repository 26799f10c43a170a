"""How uncertainties arise and add."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.judge.uncertainty import (
    accuracy,
    as_measured,
    combine,
    difference,
    measured,
    normal,
    ratio,
    rectangular,
    scaled,
)
from harness.readings import Reading


def test_three_and_four_make_five():
    u, parts = combine({"gain": 3.0, "none": 0.0, "offset": -4.0})
    assert u == 5.0
    assert parts == (("offset", 4.0), ("gain", 3.0))


def test_a_rectangle_and_a_certificate():
    assert rectangular(0.3) == pytest.approx(0.3 / math.sqrt(3))
    assert normal(0.04) == 0.02
    assert normal(0.04, k=4.0) == 0.01


def test_accuracy_of_reading_and_range():
    """0.1 % of 100 V and 0.05 % of 150 V: 0.175 V, anywhere within."""
    assert accuracy(-100.0, 0.001, 150.0, 0.0005) == pytest.approx(0.175 / math.sqrt(3))


def test_difference_and_ratio():
    a = measured(10.0, "W", {"gain": 0.3}, window_s=(0.0, 1.0))
    b = measured(8.0, "W", {"gain": 0.4}, window_s=(2.0, 3.0))
    assert difference(a, b).value == 2.0
    assert difference(a, b).u == pytest.approx(0.5)
    assert difference(a, b).window_s == (0.0, 3.0)
    assert ratio(a, b).value == 1.25
    assert ratio(a, b).u == pytest.approx(1.25 * math.hypot(0.03, 0.05))
    assert ratio(a, b).unit == "1"


def test_telemetry_against_the_instrument():
    told = as_measured(Reading(101.0, 4.0, "inverter.ac_power_w"))
    error = difference(told, measured(100.0, "W", {"gain": 0.5}))
    assert (error.value, error.u, error.unit) == (1.0, 0.5, "W")
    assert error.sources == ("inverter.ac_power_w",)


def test_units_are_not_mixed():
    with pytest.raises(ValueError, match=r"in W.*in V"):
        difference(measured(1.0, "W", {}), measured(1.0, "V", {}))


def test_a_share_of_nothing_is_no_number():
    assert math.isnan(ratio(measured(1.0, "W", {}), measured(0.0, "W", {})).value)


@given(st.floats(-1e6, 1e6), st.floats(0.0, 1e3), st.floats(-10.0, 10.0))
def test_scaling_scales_the_uncertainty(value, u, factor):
    shown = scaled(measured(value, "W", {"gain": u}), factor, "1")
    assert shown.value == value * factor
    assert shown.u == pytest.approx(u * abs(factor))


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0.0, 1e3), max_size=6))
def test_a_sum_is_no_less_than_its_largest_and_no_more_than_all(parts):
    u, kept = combine(parts)
    assert max(parts.values(), default=0.0) <= u * (1 + 1e-12)
    assert u <= sum(parts.values()) * (1 + 1e-12)
    assert len(kept) == sum(value != 0.0 for value in parts.values())
