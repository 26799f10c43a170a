"""RT-09 on the example rack as a unit of category III; the library's products are of category II."""

from __future__ import annotations

import pytest

from ..processes import LAB1, LFP_RACK, changed

# IEEE 1547-2018, tables 13 and 16, the under-voltage trips at the slow end of their ranges.
CATEGORY_3 = (
    ('category = "II"', 'category = "III"'),
    ("threshold_pu = 0.70, clearing_s = 10.0", "threshold_pu = 0.88, clearing_s = 50.0"),
    ("threshold_pu = 0.45, clearing_s = 2.0", "threshold_pu = 0.50, clearing_s = 21.0"),
    ("threshold_pu = 1.10, clearing_s = 2.0", "threshold_pu = 1.10, clearing_s = 13.0"),
    (
        'low_pu = 0.0, high_pu = 0.19, mode = "cease to energize"',
        'low_pu = 0.0, high_pu = 0.19, mode = "momentary cessation"',
    ),
    (
        'low_pu = 0.19, high_pu = 0.65, mode = "permissive operation"',
        'low_pu = 0.19, high_pu = 0.50, mode = "momentary cessation"',
    ),
    ("low_pu = 0.65, high_pu = 0.88, mode", "low_pu = 0.50, high_pu = 0.88, mode"),
    (
        'low_pu = 1.10, high_pu = 1.20, mode = "permissive operation"',
        'low_pu = 1.10, high_pu = 1.20, mode = "momentary cessation"',
    ),
)
TRIPS_EARLY = ("threshold_pu = 0.88, clearing_s = 50.0", "threshold_pu = 0.88, clearing_s = 15.0")
CEASES = 'low_pu = 0.0, high_pu = 0.19, mode = "momentary cessation"'
RUNS_ON = 'low_pu = 0.0, high_pu = 0.19, mode = "mandatory operation"'


@pytest.fixture
def rack(home):
    """A rig for RT-09 and a product file of category III."""
    changed(LAB1, home.path / "lab3.toml", ('"RT-08"', '"RT-09"'), ('name = "lab1"', 'name = "lab3"'))
    changed(LFP_RACK, home.path / "rack3.toml", *CATEGORY_3)
    return home


def run(home, product):
    return home.pytest(
        "testplans", f"--rig={home.path / 'lab3.toml'}", f"--product={product}", "--emulate", "-k", "RT-09"
    )


def test_a_unit_of_category_3_ceases_and_comes_back(rack):
    ended = run(rack, rack.path / "rack3.toml")
    assert ended.verdicts == {"RT-09": "PASS"}, ended.said
    [played] = ended.record.plans
    cases = {each["case"] for each in played.judgements if each["measure"] == "segment modes"}
    assert {f"high power, three phases, B {number}" for number in (1, 2, 3, 4)} <= cases
    [back] = [each["value"] for each in played.judgements if each["measure"] == "restore time"]
    assert 0.0 < back < 0.4


@pytest.mark.parametrize(
    ("measure", "changes"),
    [
        # Its duty is 20 s below 0.70 pu. One that can goes over to an island, where the voltage is its own.
        ("segment modes", [TRIPS_EARLY]),
        ("trips", [TRIPS_EARLY, ("is_possible = true", "is_possible = false")]),
        # Where the voltage is gone it goes on feeding a current.
        ("segment modes", [(f"{CEASES}, response_s = 0.01, recovery_s = 0.4", RUNS_ON)]),
        # IEEE 1547-2018, 6.4.2.7: 0.4 s.
        ("restore time", [("response_s = 0.01, recovery_s = 0.4", "response_s = 0.01, recovery_s = 0.8")]),
    ],
)
def test_a_unit_that_fails_category_3_is_found_out(rack, measure, changes):
    ended = run(rack, changed(rack.path / "rack3.toml", rack.path / "bad.toml", *changes))
    assert ended.verdicts == {"RT-09": "FAIL"}, ended.said
    [played] = ended.record.plans
    assert measure in {each["measure"] for each in played.judgements if each["verdict"] == "FAIL"}


def test_the_signal_of_another_category_proves_nothing(rack):
    ended = run(rack, "lfp_rack")
    assert ended.verdicts == {"RT-09": "NOT TESTABLE"}
    assert "lfp_rack claims category II of IEEE 1547-2018" in ended.messages["RT-09"]
    assert ended.code != 0
