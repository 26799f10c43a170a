"""Hydrogen in the enclosure: its exponential, and what its three levels do."""

import math
from dataclasses import replace

import pytest

from harness.plant import RigPlant
from harness.plant.bms_spec import HydrogenSpec
from harness.plant.gas import Enclosure
from tests.plant.test_bms import ZINC, charge_until

SPEC = HydrogenSpec(volume_m3=0.5, airflow_m3_per_h=10.0)


def test_the_share_follows_its_exponential_to_what_is_made_over_what_passes():
    air = Enclosure(replace(SPEC, airflow_m3_per_h=2.0), lambda: None)
    level = 0.01 * (1.0 - math.exp(-0.5))
    assert air.due_in_s(level, 0.02) == pytest.approx(450.0, abs=1e-5)
    for _ in range(3):
        air.advance(150.0, 0.02)
    assert air.share == pytest.approx(level)
    air.advance(1e6, 0.02)
    assert air.share == pytest.approx(0.02 / 2.0)
    air.advance(900.0, 0.0)
    assert air.share == pytest.approx(0.01 * math.exp(-1.0))
    assert air.due_in_s(0.02, 0.0) == math.inf
    air.advance(1e6, 0.0)
    assert air.share == 0.0


def test_without_its_fan_little_air_passes():
    air = Enclosure(replace(SPEC, airflow_m3_per_h=2.0), lambda: None)
    air.set_fan(is_running=False)
    air.advance(1e7, 0.002)
    assert air.share == pytest.approx(0.002 / 0.2)


def charging(**hydrogen):
    rig = RigPlant(
        replace(
            ZINC,
            battery=replace(ZINC.battery, soc=0.9),
            bms=replace(ZINC.bms, hydrogen=replace(SPEC, **hydrogen)),
        )
    )
    rig.advance(2.0)
    rig.converter.set_power_w(-3_000.0)
    return rig


def test_a_charge_makes_hydrogen_and_a_running_fan_keeps_it_below_every_level():
    rig = charging()
    charge_until(rig, -3_000.0, lambda: not rig.bms.is_charge_allowed and rig.now_s > 10.0)
    assert rig.bms.soc == 1.0
    assert 1e-4 < rig.bms.enclosure.share < 0.004
    assert not rig.bms.warnings


def test_a_fan_that_fails_ends_the_charge_and_then_opens():
    rig = charging(natural_fraction=0.002)
    rig.advance(300.0)
    rig.bms.enclosure.set_fan(is_running=False)
    seen = []
    for second in range(301, 9_000):
        rig.advance(second)
        bms = rig.bms
        state = (bms.warnings == {"hydrogen"}, bms.limits == {"hydrogen"}, bms.alarms == {"hydrogen"})
        if not seen or seen[-1][0] != state:
            seen.append((state, bms.enclosure.share))
        if bms.alarms:
            break
    # Nobody listens to the battery here, so that the third level is reached too.
    assert [state for state, _ in seen] == [
        (False, False, False),
        (True, False, False),
        (True, True, False),
        (True, True, True),
    ]
    assert [share for _, share in seen[1:]] == pytest.approx([0.004, 0.008, 0.01], rel=0.02)
    assert not rig.bms.is_charge_allowed
    rig.advance(rig.now_s + 0.1)
    assert not rig.bms.contactor_closed


def test_a_level_is_reached_at_its_exact_instant():
    """No more is made, and the share falls through its warning less its hysteresis."""
    rig = charging()
    rig.converter.turn_off()
    rig.advance(20.0)
    rig.bms.enclosure.share = 0.006
    rig.bms.enclosure.set_fan(is_running=True)
    due_s = 20.0 + 180.0 * math.log(0.006 / 0.003)
    rig.advance(due_s - 1e-3)
    assert rig.bms.warnings == {"hydrogen"}
    rig.advance(due_s + 1e-3)
    assert not rig.bms.warnings
