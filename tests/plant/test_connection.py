"""Contactors, precharge, link, fuse: exact instants, order, supervision, and what breaks."""

import math
from dataclasses import replace

import pytest

from harness.plant import BatterySpec, BmsSpec, CellSpread, ConverterSpec, PlantSpec, RigPlant
from harness.plant.bms_spec import ContactorSpec, FuseSpec, PrechargeSpec
from harness.plant.connection import KEPT_OPERATIONS, Stage
from harness.plant.contactors import Contactor, ContactorFault
from harness.plant.fuse import Fuse
from harness.plant.link import DcLink

EQUAL = CellSpread(capacity=0.0, resistance=0.0)
SPEC = PlantSpec(
    battery=BatterySpec(cells_in_parallel=67, spread=EQUAL),
    converter=ConverterSpec(starts_on=True, bms_timeout_s=None),
)
CLOSE_S = 0.025
"""Of each contactor."""


def rig_with(*, starts_on=True, step_scale=1.0, **bms):
    converter = replace(SPEC.converter, starts_on=starts_on)
    return RigPlant(replace(SPEC, converter=converter, bms=BmsSpec(**bms)), step_scale=step_scale)


def moved(rig):
    """What the contactors did, as (name, whether closed)."""
    return [(operation.name, operation.is_closed) for operation in rig.bms.connection.operations]


def when(rig, name, is_closed):
    return next(
        operation.time_s
        for operation in rig.bms.connection.operations
        if (operation.name, operation.is_closed) == (name, is_closed)
    )


@pytest.mark.parametrize("step_scale", [1.0, 0.5])
@pytest.mark.parametrize(("ohm", "farad", "fraction"), [(10.0, 0.01, 0.95), (25.0, 0.02, 0.98)])
def test_the_main_contactor_closes_when_the_exponential_says_so(ohm, farad, fraction, step_scale):
    precharge = PrechargeSpec(
        resistance_ohm=ohm, link_capacitance_f=farad, done_fraction=fraction, longest_s=10.0
    )
    rig = rig_with(precharge=precharge, step_scale=step_scale)
    rig.advance(10.0)
    done_s = ohm * farad * math.log(1.0 / (1.0 - fraction))
    # The string's own 11 mOhm, beside the resistor, are all that the closed form leaves out.
    assert when(rig, "positive", True) - 3.0 * CLOSE_S == pytest.approx(done_s, rel=1.5e-3)
    assert moved(rig) == [
        ("negative", True),
        ("precharge", True),
        ("positive", True),
        ("precharge", False),
    ]
    assert rig.bms.contactor_closed


def test_the_link_follows_its_exponential_and_the_string_gives_its_charge():
    rig = rig_with()
    rig.advance(2.0 * CLOSE_S)
    before_soc, emf_v = rig.string.soc, rig.string.voltage_v
    for tenth in range(1, 29):
        time_s = tenth / 100.0
        rig.advance(2.0 * CLOSE_S + time_s)
        source_ohm = rig.string.voltage_at_v(0.0) - rig.string.voltage_at_v(1.0)
        expected_v = emf_v * -math.expm1(-time_s / ((10.0 + source_ohm) * 0.01))
        assert rig.bms.link_voltage_v == pytest.approx(expected_v, rel=5e-4)
    leaked = rig.string.chemistry.self_discharge_per_day * 0.28 / 86_400.0
    charge_c = (before_soc - rig.string.soc - leaked) * 3600.0 * rig.string.capacity_ah
    assert charge_c == pytest.approx(0.01 * rig.bms.link_voltage_v, rel=1e-5)


def test_what_closes_notes_the_current_it_makes():
    rig = rig_with()
    rig.advance(1.0)
    by_name = {
        operation.name: operation for operation in rig.bms.connection.operations if operation.is_closed
    }
    assert by_name["negative"].current_a == 0.0
    assert by_name["precharge"].current_a == pytest.approx(rig.string.voltage_v / 10.0, rel=2e-3)
    # A twenty-fifth of the voltage is left after 25 ms more; it meets the string's own resistance.
    source_ohm = rig.string.voltage_at_v(0.0) - rig.string.voltage_at_v(1.0)
    inrush_a = 0.05 * math.exp(-0.25) * rig.string.voltage_v / source_ohm
    assert by_name["positive"].current_a == pytest.approx(inrush_a, rel=0.02)


def test_opening_follows_its_order_and_is_recorded_with_its_current():
    rig = rig_with()
    rig.converter.set_power_w(4_000.0)
    rig.advance(10.0)
    current_a = rig.string.current_a
    assert current_a > 50.0
    rig.bms.open_contactors()
    rig.advance(20.0)
    positive, negative = rig.bms.connection.operations[-2:]
    assert (positive.name, positive.is_closed, positive.was_opening) == ("positive", False, True)
    assert positive.time_s == 10.0 + CLOSE_S
    assert positive.current_a == pytest.approx(current_a, rel=1e-3)
    assert (negative.name, negative.time_s, negative.current_a) == ("negative", 10.0 + 2.0 * CLOSE_S, 0.0)
    assert rig.string.current_a == 0.0


def test_the_record_of_operations_is_bounded_and_keeps_the_last():
    rig = rig_with()
    rig.advance(1.0)
    connection = rig.bms.connection
    rig.converter.turn_off()
    for _ in range(KEPT_OPERATIONS // 6 + 2):
        rig.bms.open_contactors()
        rig.advance(rig.now_s + 1.0)
        rig.bms.close_contactors()
        rig.advance(rig.now_s + 1.0)
    assert connection.is_closed
    operations = connection.operations
    assert len(operations) == KEPT_OPERATIONS
    assert rig.now_s - 1.0 < operations[-1].time_s <= rig.now_s
    times_s = [operation.time_s for operation in operations]
    assert times_s == sorted(times_s)


def test_a_command_withdrawn_in_time_moves_nothing():
    rig = rig_with()
    rig.advance(1.0)
    count = len(rig.bms.connection.operations)
    rig.bms.connection.positive.command(rig.now_s, is_closed=False)
    rig.advance(1.01)
    rig.bms.connection.positive.command(rig.now_s, is_closed=True)
    rig.advance(3.0)
    assert len(rig.bms.connection.operations) == count
    assert not rig.bms.alarms


@pytest.mark.parametrize(
    ("fault", "tries"),
    [
        ({"precharge_ohm": math.inf}, 3),  # the resistor is open: the link stays empty
        ({"short_ohm": 0.005}, 3),  # the link is shorted: it never rises
        ({"capacitance_f": 1e-5}, 3),  # the link is not there: charged at once
        ({"precharge_ohm": 0.5}, 3),  # the resistor is bridged: charged too soon
        ({"capacitance_f": 0.2}, 2),  # somebody added to it: too slow
    ],
)
def test_a_precharge_that_is_not_as_it_should_be_never_closes_the_main_contactor(fault, tries):
    rig = rig_with(closes_on_start=False, precharge=PrechargeSpec(tries=tries))
    rig.bms.connection.link.fail(**fault)
    rig.bms.close_contactors()
    rig.advance(60.0)
    assert rig.bms.alarms == {"precharge"}
    assert ("positive", True) not in moved(rig)
    assert moved(rig).count(("precharge", True)) == tries
    assert rig.bms.connection.stage is Stage.OPEN
    assert rig.bms.charge_current_limit_a == 0.0
    assert rig.balance().residual_fraction < 1e-3
    rig.bms.connection.link.repair()
    rig.bms.close_contactors()
    rig.advance(120.0)
    assert rig.bms.contactor_closed
    assert not rig.bms.alarms


def test_a_precharge_is_given_up_at_the_exact_instant():
    rig = rig_with(closes_on_start=False, precharge=PrechargeSpec(tries=1))
    rig.bms.connection.link.fail(precharge_ohm=math.inf)
    rig.bms.close_contactors()
    due_s = 2.0 * CLOSE_S + 2.0
    rig.advance(due_s - 1e-6)
    assert not rig.bms.alarms
    rig.advance(due_s)
    assert rig.bms.alarms == {"precharge"}


def test_a_link_that_is_still_charged_is_closed_onto_again():
    """It is charged in less than the shortest time, and nothing is wrong with it."""
    rig = rig_with()
    rig.advance(5.0)
    rig.bms.open_contactors()
    rig.advance(5.2)
    assert rig.bms.link_voltage_v > 40.0
    rig.bms.close_contactors()
    rig.advance(6.0)
    assert rig.bms.contactor_closed
    assert not rig.bms.alarms


def test_the_link_is_discharged_after_opening():
    battery = replace(SPEC.battery, cells_in_series=120)
    bms = BmsSpec(
        charge_voltage_limit_v=420.0,
        discharge_voltage_limit_v=336.0,
        precharge=PrechargeSpec(
            resistance_ohm=100.0, link_capacitance_f=0.002, discharge_resistance_ohm=1000.0
        ),
    )
    rig = RigPlant(replace(SPEC, battery=battery, bms=bms))
    rig.advance(5.0)
    rig.bms.open_contactors()
    rig.advance(5.0 + CLOSE_S)
    link = rig.bms.connection.link
    start_v = link.voltage_v
    assert start_v == pytest.approx(rig.string.voltage_v, rel=1e-4)
    needed_s = link.time_to_safe_s()
    assert needed_s == pytest.approx(2.0 * math.log(start_v / 60.0), rel=1e-12)
    rig.advance(5.0 + CLOSE_S + needed_s - 1e-3)
    assert rig.bms.link_voltage_v > 60.0
    rig.advance(5.0 + CLOSE_S + needed_s + 1e-3)
    assert 59.9 < rig.bms.link_voltage_v < 60.0
    assert rig.bms.connection.link.time_to_safe_s() == 0.0


def test_without_its_resistor_a_link_stays_charged():
    link = DcLink(PrechargeSpec(), lambda: None)
    link.voltage_v = 400.0
    link.fail(discharge_ohm=math.inf)
    assert link.time_to_safe_s() == math.inf
    with pytest.raises(ValueError, match="short_ohm=0; allowed: more than 0"):
        link.fail(short_ohm=0)


def test_a_welded_positive_contactor_leaves_the_current_to_the_negative_one():
    rig = rig_with()
    rig.converter.set_power_w(2_000.0)
    rig.advance(10.0)
    connection = rig.bms.connection
    connection.fail(connection.positive, ContactorFault.WELDED)
    rig.bms.open_contactors()
    rig.advance(10.1)
    assert rig.string.current_a > 0.0
    rig.advance(12.0)
    # Told at 10 s; due 25 ms later, a fault 100 ms after that; then the other takes 25 ms.
    assert connection.operations[-1].name == "negative"
    assert connection.operations[-1].time_s == pytest.approx(10.0 + 0.025 + 0.1 + 0.025, abs=1e-9)
    assert connection.operations[-1].current_a > 30.0
    assert rig.bms.alarms == {"contactor"}
    assert rig.string.current_a == 0.0
    rig.bms.close_contactors()
    rig.advance(20.0)
    assert rig.bms.alarms == {"contactor"}, "closed although a contact had not come apart"
    assert not rig.bms.contactor_closed
    connection.repair(connection.positive)
    rig.advance(21.0)
    rig.bms.close_contactors()
    rig.advance(30.0)
    assert rig.bms.contactor_closed
    assert not rig.bms.alarms


@pytest.mark.parametrize(
    ("fault", "opened_s"),
    [(ContactorFault.WELDED, 10.0 + 0.025 + 0.1 + 0.025), (ContactorFault.SLOW, 10.0 + 3.0 * 0.025 + 0.025)],
)
@pytest.mark.parametrize("is_opened_first", [False, True])
def test_a_command_and_a_fault_of_one_instant_have_no_order(fault, opened_s, is_opened_first):
    rig = rig_with()
    rig.advance(10.0)
    connection = rig.bms.connection
    if is_opened_first:
        rig.bms.open_contactors()
    connection.fail(connection.positive, fault, slowness=3.0)
    if not is_opened_first:
        rig.bms.open_contactors()
    rig.advance(11.0)
    assert when(rig, "negative", False) == pytest.approx(opened_s, abs=1e-9)


@pytest.mark.parametrize("is_opened_first", [False, True])
def test_a_command_and_a_repair_of_one_instant_have_no_order(is_opened_first):
    rig = rig_with()
    rig.advance(5.0)
    connection = rig.bms.connection
    connection.fail(connection.positive, ContactorFault.SLOW, slowness=3.0)
    rig.advance(10.0)
    if is_opened_first:
        rig.bms.open_contactors()
    connection.repair(connection.positive)
    if not is_opened_first:
        rig.bms.open_contactors()
    rig.advance(11.0)
    assert when(rig, "positive", False) == pytest.approx(10.025, abs=1e-9)


def test_with_both_main_contactors_welded_the_string_stays_connected_and_says_so():
    rig = rig_with()
    rig.advance(5.0)
    connection = rig.bms.connection
    for contactor in (connection.positive, connection.negative):
        connection.fail(contactor, ContactorFault.WELDED)
    rig.bms.open_contactors()
    rig.advance(10.0)
    assert rig.bms.contactor_closed
    assert rig.bms.alarms == {"contactor"}
    assert rig.bms.charge_current_limit_a == rig.bms.discharge_current_limit_a == 0.0


@pytest.mark.parametrize("name", ["negative", "precharge", "positive"])
def test_a_contactor_stuck_open_is_found_and_nothing_stays_closed(name):
    rig = rig_with(closes_on_start=False)
    connection = rig.bms.connection
    connection.fail(getattr(connection, name), ContactorFault.STUCK_OPEN)
    rig.bms.close_contactors()
    rig.advance(10.0)
    assert rig.bms.alarms == {"contactor"}
    assert not any(contactor.is_closed for contactor in connection.contactors)
    assert connection.stage is Stage.OPEN


def test_a_contactor_that_drops_out_under_load_is_recorded_and_found():
    rig = rig_with()
    rig.converter.set_power_w(3_000.0)
    rig.advance(10.0)
    connection = rig.bms.connection
    connection.fail(connection.negative, ContactorFault.STUCK_OPEN)
    assert connection.operations[-1].current_a > 40.0
    rig.advance(10.05)
    assert rig.string.current_a == 0.0
    rig.advance(10.2)
    assert rig.bms.alarms == {"contactor"}


@pytest.mark.parametrize(("slowness", "alarms"), [(3.0, frozenset()), (6.0, {"contactor"})])
def test_a_slow_contactor_is_late_and_too_late_a_fault(slowness, alarms):
    rig = rig_with()
    rig.advance(5.0)
    connection = rig.bms.connection
    connection.fail(connection.positive, ContactorFault.SLOW, slowness=slowness)
    rig.bms.open_contactors()
    rig.advance(10.0)
    operation = next(each for each in connection.operations if each.name == "positive" and each.was_opening)
    assert operation.time_s == pytest.approx(5.0 + slowness * 0.025)
    assert rig.bms.alarms == alarms


def test_an_auxiliary_contact_that_lies_stops_the_order():
    rig = rig_with(closes_on_start=False)
    connection = rig.bms.connection
    connection.fail_feedback(connection.precharge, is_closed=True)
    rig.bms.close_contactors()
    rig.advance(10.0)
    assert rig.bms.alarms == {"contactor"}
    assert moved(rig) == []


def contactor_that_breaks(current_a, times):
    contactor = Contactor("positive", ContactorSpec(), lambda _: None, lambda: None)
    for turn in range(times):
        for offset, is_closed in ((0.0, True), (0.5, False)):
            contactor.command(turn + offset, is_closed=is_closed)
            contactor.move(turn + offset + 0.1, lambda: current_a)
    return contactor


@pytest.mark.parametrize(
    ("current_a", "times", "welds"),
    [
        (50.0, 9_000, False),
        (200.0, 5_000, False),
        (200.0, 5_001, True),
        (2_000.0, 1, False),
        (2_000.0, 2, True),
    ],
)
def test_a_contactor_breaks_as_often_as_its_data_sheet_says_and_then_welds(current_a, times, welds):
    contactor = contactor_that_breaks(current_a, times)
    assert (contactor.fault is ContactorFault.WELDED) is welds
    assert contactor.is_closed is welds


def test_between_its_points_the_break_curve_is_straight_on_logarithmic_scales():
    contactor = contactor_that_breaks(0.0, 1)
    middle_a = math.sqrt(200.0 * 2_000.0)
    assert contactor.breaks_before_weld(middle_a) == pytest.approx(math.sqrt(5_000.0), rel=1e-12)
    assert contactor.breaks_before_weld(-middle_a) == contactor.breaks_before_weld(middle_a)
    assert contactor.breaks_before_weld(2_001.0) == 0.0


def test_breaking_beyond_the_curve_welds_at_once_and_is_recorded():
    rig = rig_with(fuse=None, contactor=ContactorSpec(breaks=((20.0, 100.0), (40.0, 1.0))))
    rig.converter.set_power_w(4_000.0)
    rig.advance(10.0)
    rig.bms.open_contactors()
    rig.advance(20.0)
    welded = [each for each in rig.bms.connection.operations if each.was_opening and each.is_closed]
    assert [each.name for each in welded] == ["positive", "negative"]
    assert all(each.current_a > 40.0 for each in welded)
    assert rig.bms.contactor_closed
    assert rig.bms.alarms == {"contactor"}


def test_a_fuse_melts_by_its_curve_and_by_i2t_beyond_it():
    fuse = Fuse(FuseSpec())
    assert fuse.melting_time_s(639.0) == math.inf
    assert fuse.melting_time_s(2_000.0) == pytest.approx(5.0)
    assert fuse.melting_time_s(12_000.0) == pytest.approx(0.1 / 4.0)
    assert 12_000.0**2 * fuse.melting_time_s(12_000.0) == pytest.approx(6_000.0**2 * 0.1)
    fuse.carry(2_000.0, 2.5)
    assert fuse.due_in_s(6_000.0) == pytest.approx(0.05)
    fuse.carry(-6_000.0, 0.049)
    assert not fuse.is_blown
    fuse.carry(6_000.0, 0.001)
    assert fuse.is_blown


def test_a_fuse_that_was_not_melted_forgets():
    fuse = Fuse(FuseSpec())
    fuse.carry(2_000.0, 2.5)
    fuse.carry(0.0, 600.0)
    assert fuse.due_in_s(2_000.0) == pytest.approx(5.0 * (1.0 - 0.5 * math.exp(-1.0)))


@pytest.mark.parametrize("step_scale", [1.0, 0.5])
def test_a_short_across_the_link_blows_the_fuse_before_the_contactors_open(step_scale):
    rig = rig_with(step_scale=step_scale)
    rig.converter.set_power_w(1_000.0)
    rig.advance(10.0)
    rig.bms.connection.link.fail(short_ohm=0.002)
    rig.advance(10.002)
    current_a = rig.string.current_a
    assert current_a > 3_000.0
    assert rig.converter.dc_power_w == 0.0
    rig.advance(12.0)
    assert rig.bms.connection.fuses[0].is_blown
    assert rig.bms.alarms == {"fuse"}
    assert rig.string.current_a == 0.0
    # Within the alarm's 0.2 s; nothing had to break the current.
    opened = [each for each in rig.bms.connection.operations if each.was_opening and each.name != "precharge"]
    assert [each.current_a for each in opened] == [0.0, 0.0]
    melted_s = opened[0].time_s - 0.025 - 0.2 - 10.0
    assert melted_s == pytest.approx(Fuse(FuseSpec()).melting_time_s(current_a), rel=0.05)
    assert rig.balance().residual_fraction < 1e-3
    rig.bms.close_contactors()
    rig.advance(20.0)
    assert rig.bms.alarms == {"fuse"}, "closed on a blown fuse"


def test_without_a_fuse_the_contactors_meet_the_short_and_weld():
    rig = rig_with(fuse=None)
    rig.advance(10.0)
    rig.bms.connection.link.fail(short_ohm=0.002)
    rig.advance(11.0)
    welded = [each for each in rig.bms.connection.operations if each.was_opening and each.is_closed]
    assert [each.name for each in welded] == ["positive", "negative"]
    assert rig.bms.alarms >= {"over_current_discharge", "contactor"}
    assert rig.string.current_a > 2_000.0


def test_halved_steps_move_no_instant():
    """Stated error: 1e-6 s of the order of contactors, 1 mV of the link."""

    def day(step_scale):
        rig = rig_with(step_scale=step_scale)
        rig.converter.set_power_w(3_000.0)
        rig.at(4.0, rig.bms.open_contactors)
        rig.at(4.4, rig.bms.close_contactors)
        rig.at(8.0, rig.bms.open_contactors)
        rig.advance(9.0)
        return rig

    whole, half = day(1.0), day(0.5)
    one, two = whole.bms.connection.operations, half.bms.connection.operations
    assert [each.name for each in one] == [each.name for each in two]
    assert [each.time_s for each in one] == pytest.approx([each.time_s for each in two], abs=2e-6)
    assert whole.bms.link_voltage_v == pytest.approx(half.bms.link_voltage_v, abs=1e-3)


def test_who_looks_when_moves_no_instant():
    seldom, often = rig_with(), rig_with()
    seldom.advance(2.0)
    for look in range(1, 401):
        often.advance(look * 0.005)
    one, two = seldom.bms.connection.operations, often.bms.connection.operations
    assert [each.time_s for each in one] == pytest.approx([each.time_s for each in two], abs=2e-6)


@pytest.mark.parametrize("is_turned", [False, True])
def test_the_order_of_equal_instants_moves_nothing(is_turned):
    rig = rig_with()
    actions = [
        rig.bms.open_contactors,
        lambda: rig.bms.connection.fail(rig.bms.connection.precharge, ContactorFault.SLOW),
    ]
    for action in reversed(actions) if is_turned else actions:
        rig.at(3.0, action)
    rig.advance(5.0)
    assert [(each.time_s, each.name) for each in rig.bms.connection.operations[-2:]] == [
        (3.0 + CLOSE_S, "positive"),
        (3.0 + 2.0 * CLOSE_S, "negative"),
    ]
