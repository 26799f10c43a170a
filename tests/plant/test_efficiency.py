"""The loss map: between its points, beyond them, and back."""

import pytest

from harness.plant import ConverterSpec
from harness.plant.efficiency import Losses, LossMap, quadratic

from .test_converter import rig_with

MAP = LossMap((-1000.0, 0.0, 1000.0), (40.0, 60.0), ((30.0, 10.0, 50.0), (40.0, 12.0, 40.0)))


@pytest.mark.parametrize(
    ("power_w", "dc_v", "loss_w"),
    [
        (0.0, 40.0, 10.0),
        (500.0, 40.0, 30.0),
        (500.0, 50.0, 28.0),
        (-250.0, 60.0, 19.0),
        (2000.0, 40.0, 90.0),
        (1000.0, 30.0, 50.0),
        (1000.0, 99.0, 40.0),
    ],
)
def test_it_is_straight_between_points_and_goes_on_in_power_only(power_w, dc_v, loss_w):
    assert MAP.loss_at_w(power_w, dc_v) == pytest.approx(loss_w)


def test_power_there_and_back_is_the_same():
    losses = Losses(MAP)
    losses.follow(47.0)
    for power_w in (-1500.0, -1000.0, -3.0, 0.0, 3.0, 999.0, 4000.0):
        assert losses.ac_power_w(power_w + losses.loss_w(power_w)) == pytest.approx(power_w, abs=1e-9)


def test_efficiency_is_out_over_in_either_way():
    assert MAP.efficiency(1000.0, 40.0) == pytest.approx(1000.0 / 1050.0)
    assert MAP.efficiency(-1000.0, 40.0) == pytest.approx(970.0 / 1000.0)
    assert MAP.efficiency(0.0, 40.0) == 0.0


def test_a_quadratic_is_met_within_what_it_says():
    made = quadratic(idle_w=30.0, linear=0.012, square_per_w=2e-6, most_w=10_000.0)
    for power_w in (-9_876.0, -123.0, 0.0, 77.0, 5_130.0):
        exact_w = 30.0 + 0.012 * abs(power_w) + 2e-6 * power_w**2
        assert 0.0 <= made.loss_at_w(power_w, 50.0) - exact_w <= 2e-6 * 125.0**2


@pytest.mark.parametrize(
    ("power_w", "volts", "loss_w", "words"),
    [
        ((0.0, 0.0), (50.0,), ((1.0, 1.0),), "rising numbers"),
        ((1.0, 2.0), (50.0,), ((1.0, 1.0),), "two or more, with 0"),
        ((0.0, 1.0), (), (), "dc_voltage_v is empty"),
        ((0.0, 1.0), (50.0,), ((1.0,),), r"rows of \[1\]; allowed 1 rows"),
        ((0.0, 1.0), (50.0,), ((1.0, -1.0),), "allowed 0 and above"),
        ((-10.0, 0.0), (50.0,), ((10.0, 0.0),), "slower than the power rises"),
    ],
)
def test_what_is_no_map_is_refused(power_w, volts, loss_w, words):
    with pytest.raises(ValueError, match=words):
        LossMap(power_w, volts, loss_w)


def test_the_loss_follows_the_dc_voltage_while_nothing_else_moves():
    steep = LossMap((0.0, 10_000.0), (45.0, 60.0), ((0.0, 3000.0), (0.0, 0.0)))
    rig = rig_with(10_000.0, soc=0.2, losses=steep)
    seen = []
    while rig.string.voltage_v > 48.0:
        rig.advance(rig.now_s + 5.0)
        converter = rig.converter
        loss_w = converter.dc_power_w - converter.power_w
        seen.append(converter.dc_voltage_v)
        # A tenth of a volt, and what the voltage moves in a look.
        assert loss_w == pytest.approx(steep.loss_at_w(10_000.0, converter.dc_voltage_v), abs=60.0)
    assert seen[0] - seen[-1] > 1.0, "the voltage moved"
    assert rig.balance().residual_fraction < 1e-4
    assert ConverterSpec().losses.dc_voltage_v == (50.0,)
