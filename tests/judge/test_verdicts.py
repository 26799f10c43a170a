"""A judge that is two-sided, keeps going, and forgets nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import JudgementError, StimulusMissed
from harness.judge import Judge, Judgement, Verdict, decide
from harness.readings import Measured, Reading
from harness.requirements import Limits, Requirements, Rule

GIVEN = {"limits.rte_ac_min": 0.85, "limits.response_time_max_s": 2.0}
WORST_FIRST = [
    Verdict.ABORTED,
    Verdict.ERROR,
    Verdict.FAIL,
    Verdict.INCONCLUSIVE,
    Verdict.NOT_TESTABLE,
    Verdict.PASS,
]


@pytest.fixture(scope="module")
def requirements() -> Requirements:
    return Requirements.load()


@pytest.fixture
def heard() -> list[Judgement]:
    return []


@pytest.fixture
def judge(requirements, heard) -> Judge:
    return Judge(
        ["restore time", "trips", "efficiency"],
        requirements,
        f0_hz=60.0,
        given=GIVEN,
        on_judgement=heard.append,
    )


def seconds(value: float, u: float = 0.0, window_s=None) -> Measured:
    return Measured(value, u, "s", window_s)


def limits(low: float | None, high: float | None, tolerance: float = 0.0) -> Limits:
    return Limits(low, high, "s", tolerance, "")


def test_letters_and_order_are_those_of_the_design():
    assert list(Verdict) == WORST_FIRST
    assert [verdict.letter for verdict in WORST_FIRST] == ["A", "E", "F", "I", "N", "."]
    assert Verdict.NOT_TESTABLE.words == "NOT TESTABLE"
    for better, worse in zip(WORST_FIRST[1:], WORST_FIRST, strict=False):
        assert Verdict.worst([better, worse]) is worse
    assert Verdict.worst([]) is Verdict.PASS


def test_the_limit_itself_is_allowed_and_float_noise_is_no_miss():
    assert decide(0.1 + 0.2, 0.0, limits(0.0, 0.3), Rule.SIMPLE) is Verdict.PASS
    assert decide(0.3 + 1e-6, 0.0, limits(0.0, 0.3), Rule.SIMPLE) is Verdict.FAIL


@pytest.mark.parametrize(("low", "high"), [(0.8, None), (None, 0.8), (0.8, 1.2)])
@given(step=st.floats(1e-6, 0.1))
def test_the_verdict_flips_at_each_boundary(low, high, step):
    bounds = limits(low, high)
    if low is not None:
        assert decide(low + step, 0.0, bounds, Rule.SIMPLE) is Verdict.PASS
        assert decide(low - step, 0.0, bounds, Rule.SIMPLE) is Verdict.FAIL
    if high is not None:
        assert decide(high - step, 0.0, bounds, Rule.SIMPLE) is Verdict.PASS
        assert decide(high + step, 0.0, bounds, Rule.SIMPLE) is Verdict.FAIL


@given(value=st.floats(-10, 10), u=st.floats(1e-3, 1.0), k=st.floats(0.5, 3.0))
def test_guard_bands_pass_inside_fail_outside_and_are_undecided_between(value, u, k):
    verdict = decide(value, u, limits(-5.0, 5.0), Rule.GUARD_BAND, k)
    reach = k * u
    if abs(value) < 5.0 - reach - 1e-6:
        assert verdict is Verdict.PASS
    elif 5.0 - reach + 1e-6 < abs(value) < 5.0 + reach - 1e-6:
        assert verdict is Verdict.INCONCLUSIVE
    elif abs(value) > 5.0 + reach + 1e-6:
        assert verdict is Verdict.FAIL


def test_a_bench_too_coarse_for_the_limit_decides_nothing():
    assert decide(0.0, 3.0, limits(-1.0, 1.0), Rule.GUARD_BAND, 2.0) is Verdict.INCONCLUSIVE


def test_simple_acceptance_does_not_look_at_the_uncertainty():
    assert decide(0.99, 0.5, limits(0.0, 1.0), Rule.SIMPLE) is Verdict.PASS


def test_the_standards_own_rule_widens_by_what_it_grants():
    bounds = limits(0.0, 0.16, tolerance=2 / 60)
    assert decide(0.1933, 0.0, bounds, Rule.STANDARD) is Verdict.PASS
    assert decide(0.1934, 0.0, bounds, Rule.STANDARD) is Verdict.FAIL
    assert decide(0.1933, 0.0, bounds, Rule.SIMPLE) is Verdict.FAIL


def test_never_fails_a_deadline_and_is_not_long_enough_for_a_wait():
    assert decide(math.inf, 0.0, limits(0.0, 0.1), Rule.SIMPLE) is Verdict.FAIL
    assert decide(math.inf, 0.0, limits(150.0, None), Rule.SIMPLE) is Verdict.ERROR
    assert decide(-math.inf, 0.0, limits(None, 1.0), Rule.SIMPLE) is Verdict.ERROR
    assert decide(math.nan, 0.0, limits(0.0, 0.1), Rule.SIMPLE) is Verdict.ERROR


def test_the_judge_records_and_goes_on(judge, heard):
    first = judge("restore time", seconds(0.4), "jeac9701.sag_20_restore", case="20 %")
    second = judge("restore time", seconds(0.4), "jeac9701.sag_0_restore", case="0 %")
    assert (first.verdict, second.verdict) == (Verdict.FAIL, Verdict.PASS)
    assert heard == [first, second]
    assert judge.judgements == (first, second)
    assert judge.worst() is Verdict.FAIL


def test_a_judgement_says_all_in_one_line(judge):
    made = judge("restore time", seconds(0.093, 0.005), "jeac9701.sag_20_restore", case="20 %")
    assert made.text == (
        "restore time [20 %]: 0.093 s (u = 0.005 s); allowed 0 to 0.1 s"
        " [jeac9701_2024.sag_20_restore; JEAC 9701:2024, from memory, unverified]: PASS"
    )
    assert not made.is_verified
    assert made.requirement.version.sha256


def test_what_was_declared_and_never_judged_is_an_error(judge):
    judge("restore time", seconds(0.05), "jeac9701.sag_20_restore")
    assert judge.left_out() == "declared and never judged: trips, efficiency"
    assert judge.worst() is Verdict.PASS
    assert judge.verdict() is Verdict.ERROR
    judge("trips", Measured(0.0, 0.0, "count"), "jeac9701.sag_no_trip")
    judge("efficiency", Measured(0.9, 0.001, "1"), "product_limits.rte_ac")
    assert judge.left_out() == ""
    assert judge.verdict() is Verdict.PASS


def test_a_plan_that_measures_nothing_proves_nothing(requirements):
    judge = Judge([], requirements, f0_hz=50.0, given={})
    assert (judge.verdict(), judge.left_out()) == (Verdict.ERROR, "the plan declares no measure")


def test_a_stimulus_is_not_a_measure(judge):
    judge.stimulus("restore time", Measured(0.0, 0.0, "1"), "rackproof_bench.stimulus_level")
    assert "restore time" in judge.left_out()


def test_a_stimulus_that_missed_is_the_benchs_fault(judge, heard):
    with pytest.raises(StimulusMissed, match=r"residual voltage: 0.03; allowed -0.01 to 0.01 pu.*ERROR"):
        judge.stimulus("residual voltage", Measured(0.03, 0.0, "1"), "rackproof_bench.stimulus_level")
    assert heard[0].verdict is Verdict.ERROR
    assert heard[0].is_stimulus
    assert judge.worst() is Verdict.ERROR


def test_a_measure_that_was_not_declared(judge):
    with pytest.raises(JudgementError, match=r"'restore tme' is not declared.*did you mean 'restore time'"):
        judge("restore tme", seconds(0.1), "jeac9701.sag_20_restore")


def test_a_measure_judged_twice(judge):
    judge("restore time", seconds(0.1), "jeac9701.sag_20_restore")
    with pytest.raises(JudgementError, match="judged before; name each instance"):
        judge("restore time", seconds(0.1), "jeac9701.sag_20_restore")


def test_without_a_requirement_nothing_is_judged(judge, heard):
    with pytest.raises(JudgementError, match=r"did you mean jeac9701\.sag_20_restore"):
        judge("restore time", seconds(0.1), "jeac9701.sag_20_restor")
    assert heard == []


@pytest.mark.parametrize("value", [Measured(0.05, 0.0, "V"), True, Reading(0.05, 1.0, "inverter.power_w")])
def test_units_have_to_agree(judge, value):
    with pytest.raises(JudgementError, match="limited in 's'"):
        judge("restore time", value, "jeac9701.sag_20_restore")


def test_a_bare_float_is_refused(judge):
    with pytest.raises(JudgementError, match="bare float has neither unit nor origin"):
        judge("restore time", 0.05, "jeac9701.sag_20_restore")


def test_a_value_that_is_no_number_is_an_error(judge):
    assert judge("restore time", seconds(math.nan), "jeac9701.sag_20_restore").verdict is Verdict.ERROR


def test_never_within_a_capture_that_was_long_enough_is_a_fault(judge):
    long = judge("restore time", seconds(math.inf, 0.0, (1.0, 1.2)), "jeac9701.sag_20_restore", case="long")
    short = judge(
        "restore time", seconds(math.inf, 0.0, (1.0, 1.05)), "jeac9701.sag_20_restore", case="short"
    )
    assert long.verdict is Verdict.FAIL
    assert short.verdict is Verdict.ERROR
    assert "ended before the limit" in short.text


def test_bools_and_sets_and_readings(judge):
    assert judge("trips", True, "rackproof_bench.is_true", case="a").verdict is Verdict.PASS
    assert judge("trips", False, "rackproof_bench.is_true", case="b").verdict is Verdict.FAIL
    is_on = Reading(True, 3.0, "inverter.is_on")
    assert judge("trips", is_on, "rackproof_bench.is_false", case="c").verdict is Verdict.FAIL
    alarms = Reading(frozenset({"over voltage"}), 3.0, "bms.alarms")
    made = judge("trips", alarms, "rackproof_bench.no_alarm", case="d")
    assert made.verdict is Verdict.FAIL
    assert made.sources == ("bms.alarms",)
    assert (
        judge("trips", Reading(0, 3.0, "bms.trips"), "rackproof_bench.no_trip", case="e").verdict
        is Verdict.PASS
    )
    with pytest.raises(JudgementError, match="no limit can be held against"):
        judge("trips", Reading("fault", 3.0, "inverter.state"), "rackproof_bench.no_trip", case="f")


def test_a_guard_band_needs_an_instrument(judge):
    with pytest.raises(JudgementError, match="decides by the uncertainty"):
        judge("efficiency", Reading(0.9, 1.0, "bms.efficiency"), "product_limits.rte_ac")


def test_a_guarded_limit_from_the_product_file(judge):
    def verdict(value, case):
        return judge("efficiency", Measured(value, 0.005, "1"), "product_limits.rte_ac", case=case).verdict

    assert verdict(0.861, "inside") is Verdict.PASS
    assert verdict(0.859, "just inside") is Verdict.INCONCLUSIVE
    assert verdict(0.841, "just outside") is Verdict.INCONCLUSIVE
    assert verdict(0.839, "outside") is Verdict.FAIL
    assert verdict(1.2, "more out than in") is Verdict.FAIL
