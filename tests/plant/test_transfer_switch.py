"""The transfer switch: gaps as exact times, angles, never both."""

import math

import numpy as np
import pytest

from harness.plant import (
    BatterySpec,
    ConverterSpec,
    GridSpec,
    LoadSpec,
    PlantSpec,
    RigPlant,
    Side,
    TransferSwitchSpec,
)
from harness.plant.converter import Mode
from harness.roles import GridStep

NOMINAL_V = 115.470053838
STATIC = TransferSwitchSpec.static(60.0)


def plant(switch=STATIC, *, angle_deg=0.0, frequency_hz=60.0, **load):
    return RigPlant(
        PlantSpec(
            load=LoadSpec(power_w=2000.0, **load),
            second_mains=GridSpec(angle_deg=angle_deg, frequency_hz=frequency_hz),
            transfer_switch=switch,
        )
    )


@pytest.mark.parametrize(
    ("switch", "gap_s"),
    [(STATIC, 0.25 / 60.0), (TransferSwitchSpec.mechanical(), 0.15)],
    ids=["static", "mechanical"],
)
def test_the_load_is_dark_for_detection_and_gap_and_no_longer(switch, gap_s):
    rig = plant(switch)
    rig.at(1.0, rig.grid.open_relay)
    rig.advance(2.0)
    assert rig.load.dead_s == pytest.approx(gap_s, abs=1e-9)
    assert rig.switch.side is Side.STANDBY
    samples = rig.waveform("load_ac.u1_v", 0.99, 100_000.0, 20_000)
    dark = np.flatnonzero(samples == 0.0)
    assert len(dark) == pytest.approx(gap_s * 100_000.0, abs=2)
    assert np.all(np.diff(dark) == 1)
    assert rig.totals("load_ac").energy_out_j == pytest.approx(2000.0 * (2.0 - gap_s), rel=1e-3)
    assert rig.balance().residual_fraction < 1e-9


def test_it_goes_back_after_good_mains_and_is_never_on_both():
    rig = plant(TransferSwitchSpec.mechanical(return_s=5.0))
    rig.at(1.0, rig.grid.open_relay)
    rig.at(10.0, rig.grid.close_relay)
    rig.advance(10.0)
    for k in range(6000):
        rig.advance(10.0 + k * 0.001)
        both = abs(rig.converter.flow.grid_a[0]) > 1e-9 and abs(rig.converter.flow.standby_a[0]) > 1e-9
        assert not both
    assert rig.switch.side is Side.MAINS
    # Good from 10 s on, open at 15 s, closed at 15.1 s.
    assert rig.load.dead_s == pytest.approx(0.15 + 0.1, abs=1e-9)
    assert rig.switch.transfers == 2
    standby = rig.totals("standby_ac")
    assert standby.energy_in_j == pytest.approx(2000.0 * (15.0 - 1.15), rel=1e-3)


def test_a_sag_that_is_shorter_than_the_detection_moves_nothing():
    rig = plant(TransferSwitchSpec.mechanical())
    rig.grid.play(
        [
            GridStep(1.0, (1.0,) * 3, 60.0),
            GridStep(0.049, (0.5, 1.0, 1.0), 60.0),
            GridStep(1.0, (1.0,) * 3, 60.0),
        ]
    )
    rig.advance(2.0)
    assert rig.switch.transfers == 0


@pytest.mark.parametrize("angle_deg", [30.0, 120.0, -120.0])
def test_out_of_phase_it_takes_the_long_gap(angle_deg):
    rig = plant(angle_deg=angle_deg)
    rig.at(1.0, rig.grid.open_relay)
    rig.advance(2.0)
    assert rig.switch.apart_deg == pytest.approx(angle_deg)
    assert rig.load.dead_s == pytest.approx(0.125 / 60.0 + 0.02, abs=1e-9)


def test_refused_out_of_phase_it_waits_for_the_slip():
    switch = TransferSwitchSpec(out_of_phase_gap_s=None, detect_s=0.05, gap_s=0.1, in_phase_deg=10.0)
    rig = plant(switch, frequency_hz=60.2, angle_deg=40.0)
    rig.advance(1.0)
    # 40 + 72 degrees a second: at 1 s 112 degrees ahead, and the window opens at 350 after 3.3056 s more.
    rig.switch.transfer_to(Side.STANDBY)
    rig.switch.is_automatic = False
    rig.advance(1.0)
    assert rig.switch.is_waiting
    opens_s = 1.0 + (350.0 - 112.0) / 72.0
    rig.advance(opens_s - 1e-6)
    assert rig.switch.side is Side.MAINS
    rig.advance(opens_s + 1e-6)
    assert rig.switch.side is Side.OPEN
    rig.advance(opens_s + 0.1 + 1e-6)
    assert rig.switch.side is Side.STANDBY
    assert rig.load.dead_s == pytest.approx(0.1, abs=1e-9)


def test_refused_out_of_phase_without_a_slip_it_waits_for_ever():
    switch = TransferSwitchSpec(out_of_phase_gap_s=None)
    rig = plant(switch, angle_deg=120.0)
    rig.at(1.0, rig.grid.open_relay)
    rig.advance(60.0)
    assert rig.switch.is_waiting
    assert rig.load.is_dead


@pytest.mark.parametrize("angle_deg", [0.0, 30.0, 120.0, 180.0])
@pytest.mark.parametrize("checks_phase", [True, False])
def test_a_transfer_makes_an_inrush_by_its_angle_and_its_gap(angle_deg, checks_phase):
    """|1 - exp(-g / 20 ms - j d)| of a cold core's; g is from the loss to the closing."""
    switch = TransferSwitchSpec(
        detect_s=0.002, gap_s=0.002, out_of_phase_gap_s=0.02, checks_phase=checks_phase
    )
    rig = plant(switch, angle_deg=angle_deg, inrush_factor=10.0, inrush_time_constant_s=0.1)
    rig.at(1.0, rig.grid.open_relay)
    gap_s = 0.022 if checks_phase and angle_deg else 0.004
    rig.advance(1.0 + gap_s)
    assert rig.switch.side is Side.STANDBY
    current_a = rig.converter.flow.load_a[0]
    nominal_a = 2000.0 / 3.0 / NOMINAL_V
    left = math.exp(-gap_s / 0.02)
    part = math.sqrt(1.0 + left**2 - 2.0 * left * math.cos(math.radians(angle_deg)))
    assert -current_a.imag / nominal_a == pytest.approx(10.0 * part, rel=0.02, abs=0.01)


def test_a_converter_rides_on_or_bridges_the_gap():
    """The static gap is within its own transfer gap of 8 ms; the mechanical one it bridges as an island."""
    found = {}
    for name, switch in (("static", STATIC), ("mechanical", TransferSwitchSpec.mechanical())):
        rig = RigPlant(
            PlantSpec(
                battery=BatterySpec(cells_in_parallel=67),
                converter=ConverterSpec(starts_on=True, bms_timeout_s=None),
                load=LoadSpec(power_w=2000.0),
                second_mains=GridSpec(angle_deg=10.0),
                transfer_switch=switch,
            )
        )
        rig.converter.set_power_w(3000.0)
        rig.at(5.0, rig.grid.open_relay)
        rig.advance(5.2)
        found[name] = (rig.converter.mode, rig.load.dead_s)
        rig.advance(30.0)
        assert rig.converter.mode is Mode.FOLLOWING
        assert rig.converter.power_w == pytest.approx(3000.0, rel=1e-3)
        assert rig.totals("standby_ac").energy_out_j > 0.0
        assert rig.balance().residual_fraction < 1e-4
    assert found["static"][0] is Mode.FOLLOWING
    assert found["static"][1] == pytest.approx(0.25 / 60.0, abs=1e-9)
    assert found["mechanical"][0] is Mode.FORMING
    assert found["mechanical"][1] == pytest.approx(0.008, abs=1e-9)


def test_equal_instants_come_out_the_same_in_any_order():
    """Mains lost, a load step and a look at one instant, planned in two orders."""
    found = []
    for order in (0, 1):
        rig = plant(TransferSwitchSpec.mechanical(), restart_delay_s=0.2, inrush_factor=3.0)
        acts = [rig.grid.open_relay, lambda rig=rig: rig.load.set_power_w(3000.0)]
        for act in acts[::-1] if order else acts:
            rig.at(1.0, act)
        rig.advance(3.0)
        found.append((rig.totals("load_ac"), rig.totals("standby_ac"), rig.load.dead_s))
    assert found[0] == found[1]


@pytest.mark.parametrize("bad", [{"gap_s": 0.0}, {"detect_s": -1.0}, {"high_pu": 0.5}, {"return_s": -1.0}])
def test_impossible_switches_are_refused(bad):
    with pytest.raises(ValueError, match=rf"transfer switch: {next(iter(bad))}=.*; allowed"):
        TransferSwitchSpec(**bad)


def test_the_open_position_is_no_target():
    with pytest.raises(ValueError, match=r"transfer_to\(open\)"):
        plant().switch.transfer_to(Side.OPEN)
