"""The whole rig: energy, time, determinism, speed."""

import time
from dataclasses import replace

import numpy as np
import pytest

from harness.plant import (
    BatterySpec,
    BmsSpec,
    ConverterSpec,
    LoadSpec,
    PlantSpec,
    RigPlant,
    stated_error,
)
from harness.roles import GridStep

LFP = PlantSpec(
    battery=BatterySpec(cells_in_parallel=67),
    converter=ConverterSpec(starts_on=True, bms_timeout_s=None),
    load=LoadSpec(power_w=2000.0),
)
ZINC = replace(
    LFP,
    battery=BatterySpec(chemistry="zinc_halogen", cells_in_series=28, cells_in_parallel=2),
    bms=BmsSpec(
        charge_voltage_limit_v=56.0,
        discharge_voltage_limit_v=36.0,
        charge_current_limit_a=60.0,
        discharge_current_limit_a=100.0,
        cell_over_voltage_warning_v=2.05,
        cell_over_voltage_alarm_v=2.1,
        cell_under_voltage_warning_v=1.2,
        cell_under_voltage_alarm_v=1.0,
        charge_stop_cell_v=2.04,
        discharge_stop_cell_v=1.4,
    ),
)


def play_a_bad_day(rig, look_s):
    """Charge, discharge, sag, island, return, with somebody looking every ``look_s``."""
    rig.converter.set_power_w(-2500.0)
    planned = [
        (100.0, lambda: rig.converter.set_power_w(2500.0)),
        (
            130.0,
            lambda: rig.grid.play([GridStep(0.3, (0.3, 0.3, 1.0), 60.0), GridStep(1.0, (1.0,) * 3, 60.0)]),
        ),
        (150.0, rig.grid.open_relay),
        (170.0, rig.grid.close_relay),
    ]
    for time_s, action in planned:
        rig.at(time_s, action)
    looks = int(200.0 / look_s)
    for look in range(1, looks + 1):
        rig.advance(look * look_s)


@pytest.mark.parametrize("spec", [LFP, ZINC], ids=["lfp", "zinc"])
def test_energy_balances_through_a_bad_day(spec):
    rig = RigPlant(spec)
    play_a_bad_day(rig, 1.0)
    balance = rig.balance()
    assert balance.throughput_j > 1e5
    assert balance.residual_fraction < 1e-4


@pytest.mark.parametrize(
    ("spec", "power_w", "low", "high"),
    [(LFP, 5000.0, 0.90, 0.97), (ZINC, 1200.0, 0.78, 0.88)],
    ids=["lfp", "zinc"],
)
def test_a_round_trip_balances_and_has_the_efficiency_of_its_chemistry(spec, power_w, low, high):
    rig = RigPlant(spec)
    bms, converter = rig.bms, rig.converter
    rig.advance(3.0)
    start_soc, second = rig.string.soc, 3
    charged_to = start_soc + 0.3
    converter.set_power_w(-power_w)
    while rig.string.soc < charged_to:
        second += 1
        rig.advance(second)
        converter.hear_bms(
            bms.charge_current_limit_a, bms.discharge_current_limit_a, bms.charge_voltage_limit_v
        )
    converter.set_power_w(power_w)
    while rig.string.soc > start_soc:
        second += 1
        rig.advance(second)
        converter.hear_bms(
            bms.charge_current_limit_a, bms.discharge_current_limit_a, bms.charge_voltage_limit_v
        )
    assert rig.balance().residual_fraction < 1e-4
    battery = rig.totals("battery_dc")
    assert low < battery.energy_out_j / battery.energy_in_j < high
    assert not bms.alarms


def test_results_do_not_depend_on_who_looks_when():
    seldom, often = RigPlant(LFP), RigPlant(LFP)
    play_a_bad_day(seldom, 200.0)
    play_a_bad_day(often, 0.125)
    assert often.now_s == seldom.now_s
    assert often.string.soc == pytest.approx(seldom.string.soc, abs=1e-6)
    assert often.string.voltage_v == pytest.approx(seldom.string.voltage_v, abs=1e-4)
    assert often.converter.power_w == pytest.approx(seldom.converter.power_w, rel=1e-4)
    for node in ("grid_ac", "pcs_ac", "load_ac", "battery_dc"):
        one, two = seldom.totals(node), often.totals(node)
        assert two.energy_out_j == pytest.approx(one.energy_out_j, rel=1e-4, abs=5.0)
        assert two.energy_in_j == pytest.approx(one.energy_in_j, rel=1e-4, abs=5.0)


def test_halved_steps_move_results_by_less_than_the_stated_error():
    whole, half = RigPlant(LFP), RigPlant(LFP, step_scale=0.5)
    for rig in (whole, half):
        play_a_bad_day(rig, 200.0)
    assert half.string.soc == pytest.approx(whole.string.soc, abs=stated_error.LFP.soc)
    assert half.string.voltage_v == pytest.approx(whole.string.voltage_v, abs=stated_error.LFP.string_v)
    one, two = whole.totals("pcs_ac"), half.totals("pcs_ac")
    assert two.energy_out_j == pytest.approx(one.energy_out_j, rel=stated_error.CONVERTER.energy)
    assert two.energy_in_j == pytest.approx(one.energy_in_j, rel=stated_error.CONVERTER.energy)


def test_equal_runs_are_equal_to_the_last_bit():
    one, two = RigPlant(LFP), RigPlant(LFP)
    for rig in (one, two):
        play_a_bad_day(rig, 0.7)
    assert one.totals("battery_dc") == two.totals("battery_dc")
    assert np.array_equal(one.string.cell_voltages_v, two.string.cell_voltages_v)
    assert np.array_equal(
        one.waveform("pcs_ac.i1_a", 149.9, 10_000.0, 3000), two.waveform("pcs_ac.i1_a", 149.9, 10_000.0, 3000)
    )


def test_time_only_goes_forward_and_may_stand():
    rig = RigPlant(LFP)
    rig.advance(5.0)
    before = rig.totals("battery_dc")
    rig.advance(5.0)
    assert rig.totals("battery_dc") == before
    with pytest.raises(ValueError, match="advance"):
        rig.advance(4.0)
    with pytest.raises(ValueError, match="at"):
        rig.at(4.0, lambda: None)


def standing_rig(power_w=-1000.0, **spec):
    """Nothing moves on the AC side any more: steps are the battery's alone."""
    rig = RigPlant(replace(LFP, **spec))
    rig.converter.set_power_w(power_w)
    for second in range(1, 31):
        rig.advance(second)
    return rig


def test_while_nothing_moves_no_phasors_are_solved_and_no_stretch_is_added():
    rig = standing_rig()
    flow = rig.converter.flow
    before = rig.totals("pcs_ac")
    rig.advance(60.0)
    assert rig.converter.flow is flow
    added = rig.totals("pcs_ac") - before
    assert added.energy_in_j == pytest.approx(30_000.0, rel=1e-6)
    assert added.cycles == pytest.approx(1800.0, abs=1e-6)
    assert rig.converter.dc_voltage_v == rig.string.voltage_v
    assert rig.grid.turns == pytest.approx(3600.0, abs=1e-9)


@pytest.mark.parametrize(
    ("act", "look"),
    [
        (lambda rig: rig.converter.set_power_w(4000.0), lambda rig: rig.converter.power_w),
        (
            lambda rig: rig.converter.set_reactive_power_var(900.0),
            lambda rig: rig.converter.reactive_power_var,
        ),
        (lambda rig: rig.converter.turn_off(), lambda rig: rig.converter.power_w),
        (lambda rig: setattr(rig.converter, "dead", True), lambda rig: rig.converter.power_w),
        (lambda rig: rig.load.set_power_w(500.0), lambda rig: rig.load.power_w),
        (lambda rig: rig.grid.set_voltage_v(110.0), lambda rig: rig.grid.voltage_v(1)),
        (lambda rig: rig.grid.set_frequency_hz(59.9), lambda rig: rig.converter.frequency_hz),
        (lambda rig: rig.grid.open_relay(), lambda rig: rig.grid.voltage_v(1)),
        (lambda rig: rig.bms.open_contactors(), lambda rig: rig.string.current_a),
        (lambda rig: rig.converter.hear_bms(5.0, 5.0, 58.0), lambda rig: rig.string.current_a),
    ],
)
@pytest.mark.parametrize("is_planned", [True, False])
def test_whatever_is_commanded_ends_the_standing(act, look, is_planned):
    rig = standing_rig()
    before = look(rig)
    if is_planned:
        rig.at(30.5, lambda: act(rig))
    else:
        rig.advance(30.5)
        act(rig)
    rig.advance(33.0)
    assert look(rig) != pytest.approx(before, rel=1e-4)


def test_one_hot_cell_is_seen_while_the_rig_stands():
    rig = standing_rig()
    hot_degc = rig.string.cell_temperatures_degc
    hot_degc[5] = 70.0
    rig.string.cell_temperatures_degc = hot_degc
    rig.advance(rig.now_s)
    assert "over_temperature" in rig.bms.warnings
    rig.advance(rig.now_s + 0.25)
    assert rig.bms.alarms == {"over_temperature"}
    assert not rig.bms.contactor_closed


def test_a_jump_of_the_phase_at_no_current_breaks_the_sine():
    rig = standing_rig(0.0, converter=ConverterSpec())
    rig.grid.play([GridStep(1.0, (1.0,) * 3, 60.0), GridStep(1.0, (1.0,) * 3, 60.0, phase_jump_deg=90.0)])
    rig.advance(32.0)
    # The load turns the voltage by a fifth of a millirad against the source.
    assert rig.waveform("pcs_ac.u1_v", 30.5, 60.0, 1)[0] == pytest.approx(0.0, abs=0.1)
    peak_v = rig.converter.ac_voltage_v(1) * np.sqrt(2.0)
    assert rig.waveform("pcs_ac.u1_v", 31.5, 60.0, 1)[0] == pytest.approx(peak_v, rel=1e-4)


@pytest.mark.parametrize(("power_w", "limit_a"), [(-10_000.0, -100.0), (10_000.0, 120.0)])
def test_a_limit_of_the_battery_is_held_however_long(power_w, limit_a):
    rig = standing_rig(power_w)
    charge_c = 0.0
    for second in range(31, 1231):
        rig.converter.hear_bms(100.0, 120.0, 58.0)
        rig.advance(second)
        if second > 32:
            # 2e-5 of 300 A, and what a second moves it on.
            assert rig.string.current_a == pytest.approx(limit_a, abs=0.008)
            charge_c += rig.string.current_a
    assert charge_c == pytest.approx(1198 * limit_a, rel=6e-5)
    assert rig.balance().residual_fraction < 2e-6


def test_a_long_string_costs_hardly_more_than_a_short_one():
    rigs = []
    for cells in (16, 240):
        battery = replace(LFP.battery, cells_in_series=cells)
        bms = BmsSpec(charge_voltage_limit_v=cells * 3.5, discharge_voltage_limit_v=cells * 2.8)
        rigs.append(standing_rig(battery=battery, bms=bms))
    costs_s = []
    for rig in rigs:
        started = time.process_time()
        for second in range(31, 1031):
            rig.advance(second)
        costs_s.append(time.process_time() - started)
    # Per-cell work at each step would make it ten times as much.
    assert costs_s[1] < 4.0 * costs_s[0]


def test_actions_run_at_their_time_in_the_order_planned():
    rig, seen = RigPlant(LFP), []
    rig.at(2.0, lambda: seen.append(("second", rig.now_s)))
    rig.at(1.5, lambda: seen.append(("first", rig.now_s)))
    rig.at(2.0, lambda: seen.append(("third", rig.now_s)))
    rig.advance(1.9)
    assert seen == [("first", 1.5)]
    rig.advance(3.0)
    assert seen == [("first", 1.5), ("second", 2.0), ("third", 2.0)]


def test_node_signs_are_those_of_the_rig():
    rig = RigPlant(LFP)
    rig.converter.set_power_w(5000.0)
    rig.advance(10.0)
    start = {node: rig.totals(node) for node in ("grid_ac", "pcs_ac", "load_ac", "battery_dc")}
    rig.advance(20.0)
    added = {node: rig.totals(node) - start[node] for node in start}
    assert added["pcs_ac"].energy_out_j == pytest.approx(50_000.0, rel=1e-4)
    assert added["load_ac"].energy_out_j == pytest.approx(20_000.0, rel=5e-3)
    assert added["grid_ac"].energy_out_j == pytest.approx(30_000.0, rel=5e-3)
    assert added["battery_dc"].charge_out_c > 0.0
    assert added["battery_dc"].charge_in_c == 0.0
    assert added["pcs_ac"].time_s == pytest.approx(10.0)
    rms_v = np.sqrt(added["pcs_ac"].voltage_square_v2s[0] / 10.0)
    assert rms_v == pytest.approx(rig.converter.ac_voltage_v(1), rel=1e-6)


def test_waveforms_agree_with_the_totals():
    rig = RigPlant(LFP)
    rig.converter.set_power_w(-5000.0)
    rig.advance(10.0)
    volts = [rig.waveform(f"pcs_ac.u{n}_v", 9.0, 12_000.0, 12_000) for n in (1, 2, 3)]
    amps = [rig.waveform(f"pcs_ac.i{n}_a", 9.0, 12_000.0, 12_000) for n in (1, 2, 3)]
    power_w = sum(float(np.mean(u * i)) for u, i in zip(volts, amps, strict=True))
    assert power_w == pytest.approx(-5000.0, rel=1e-3)
    assert rig.waveform("battery_dc.i_a", 9.0, 100.0, 100).max() < 0.0
    assert rig.waveform("battery_dc.u_v", 9.0, 100.0, 100) == pytest.approx(rig.string.voltage_v, abs=0.05)


def test_a_window_that_is_not_kept_is_refused():
    rig = RigPlant(LFP)
    rig.advance(1.0)
    with pytest.raises(ValueError, match=r"kept 0\.0 s to 1\.0 s"):
        rig.waveform("pcs_ac.u1_v", 0.5, 1000.0, 600)
    with pytest.raises(ValueError, match="no channel"):
        rig.waveform("pcs_ac.u4_v", 0.0, 1000.0, 10)
    with pytest.raises(ValueError, match="no node"):
        rig.totals("pcs")


def test_the_kept_past_stays_bounded():
    rig = RigPlant(LFP)
    rig.converter.set_power_w(-1000.0)
    for second in range(1, 5000):
        rig.advance(second)
    assert len(rig.waveform("battery_dc.u_v", 4200.0, 1.0, 700)) == 700
    with pytest.raises(ValueError, match="kept"):
        rig.waveform("battery_dc.u_v", 10.0, 1.0, 10)


def test_a_week_of_rest_takes_few_steps():
    rig = RigPlant(replace(LFP, converter=ConverterSpec()))
    rig.grid.open_relay()
    started = time.process_time()
    rig.advance(7 * 86_400.0)
    assert time.process_time() - started < 10.0
    assert 0.5 - rig.string.soc == pytest.approx(7 * 0.00067, rel=1e-3)


def test_hours_pass_in_moments():
    rig = RigPlant(LFP)
    rig.converter.set_power_w(-1000.0)
    rig.advance(10.0)
    started = time.process_time()
    for second in range(11, 2011):
        rig.advance(second)
    # The aim is 30 us a step on a free core; a shared, slow one gets five times as long.
    assert time.process_time() - started < 2000 * 150e-6
