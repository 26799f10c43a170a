"""A product that does not do what it promises FAILs by the measure that says so; it is no ERROR of the bench.

The defects are settings of the emulated product; what it promises stays as it was. One that promises less is
held to that.
"""

from __future__ import annotations

import re

import pytest

from ..processes import LFP_RACK, changed

DEFECTS = {
    # Its under-voltage trip comes a tenth of a second before the sag ends: it goes over to its island.
    "RT-01[50Hz-20pct]": (
        ("restored output", "discharge 100 %, 0.3 s"),
        ("threshold_pu = 0.45, clearing_s = 2.0", "threshold_pu = 0.45, clearing_s = 0.2"),
    ),
    # Its battery takes less and less without saying so, and nothing from a fifth of its charge on.
    "CC-03": (
        ("ends as promised", ""),
        (
            "charge_taper = [[0.0, 1.0], [1.0, 1.0]]",
            "charge_taper = [[0.0, 1.0], [0.195, 1.0], [0.2, 0.0], [1.0, 0.0]]",
        ),
    ),
    # Three seconds are promised.
    "CM-06": (("time to zero", ""), ("bms_timeout_s = 3.0", "bms_timeout_s = 4.0")),
    # Its load survives 20 ms.
    "FO-15": (("interruption at the loss", ""), ("transfer_gap_s = 0.008", "transfer_gap_s = 0.040")),
}
NEARLY_EMPTY = ("initial_soc = 0.5", "initial_soc = 0.15")
NEVER_EMPTY = (
    "discharge_taper = [[0.0, 0.2], [0.02, 1.0], [1.0, 1.0]]",
    "discharge_taper = [[0.0, 0.0], [0.1, 0.0], [0.105, 1.0], [1.0, 1.0]]",
)
"""A tenth of its charge stays in it, and it does not say so."""


def run(home, plans, *changes):
    """Run plans on a changed rack; gives the measures that each FAILed by, with their cases."""
    product = changed(LFP_RACK, home.path / "rack.toml", *changes)
    ended = home.pytest("testplans", "--rig=lab1", f"--product={product}", "--emulate", "-k", plans)
    assert set(ended.verdicts.values()) == {"FAIL"}, ended.said
    return {
        each.plan: {(j["measure"], j["case"]) for j in each.judgements if j["verdict"] == "FAIL"}
        for each in ended.record.plans
    }


def test_every_plan_finds_the_defect_that_it_is_there_for(home):
    found = run(
        home,
        "50Hz-20pct or CC-03 or CM-06 or FO-15",
        NEARLY_EMPTY,
        NEVER_EMPTY,
        *(change for _, change in DEFECTS.values()),
    )
    assert found.keys() == DEFECTS.keys()
    for plan, (judged, _) in DEFECTS.items():
        assert judged in found[plan]
    assert ("ends as promised", "the discharge before") in found["CC-03"]


def test_a_product_that_promises_to_stop_later_is_watched_for_longer(home):
    slower = (
        ("bms_timeout_s = 3.0", "bms_timeout_s = 12.0"),
        ("bms_loss_stop_min_s = 2.0", "bms_loss_stop_min_s = 11.0"),
        ("bms_loss_stop_max_s = 3.7", "bms_loss_stop_max_s = 12.7"),
    )
    product = changed(LFP_RACK, home.path / "rack.toml", *slower)
    ended = home.pytest("testplans", "--rig=lab1", f"--product={product}", "--emulate", "-k", "CM-06")
    assert ended.verdicts == {"CM-06": "PASS"}, ended.said


def test_a_product_that_leaves_its_load_dead_fails(home):
    found = run(home, "FO-15", ("is_possible = true", "is_possible = false"))
    measures = {measure for measure, _ in found["FO-15"]}
    assert {"interruption at the loss", "forms the island", "load carried", "island voltage"} <= measures


@pytest.mark.parametrize(
    ("synchronise_s", "measure"),
    [
        ("0.001", "angle at the return"),  # half a turn within a cycle
        ("1.25", "frequency step at the return"),  # half a turn at 0.4 Hz
    ],
)
def test_a_converter_that_does_not_synchronise_fails_by_what_is_out_of_step(home, synchronise_s, measure):
    found = run(home, "FO-15", ("synchronise_s = 2.5", f"synchronise_s = {synchronise_s}"))
    assert found == {"FO-15": {(measure, "")}}


def test_a_converter_that_loses_twice_as_much_fails_by_its_efficiency(home):
    """86 % is promised; what the battery loses by itself stays as it was."""
    text = LFP_RACK.read_text()
    begins = text.index("loss_w = [")
    table = text[begins : text.index("\n]", begins)]
    twice = re.sub(r"\d+\.\d+", lambda found: f"{2.0 * float(found[0]):.1f}", table)
    assert run(home, "CC-02", (table, twice)) == {"CC-02": {("round-trip efficiency", "cycle 1")}}
