"""Plans that end in every way in which a plan can end; run by ``test_plugin.py`` on an emulated rig.

No test of its own: pytest does not collect this file's name.
"""

from __future__ import annotations

import asyncio
from functools import partial
from time import sleep

import pytest

from harness.errors import Aborted, BenchError, NotTestable
from harness.plans import plan
from harness.readings import Measured
from rackproof_fixtures.steps import energise, hold_power

TRUE = "rackproof_bench.is_true"


def odd(plan_id, *measures, hazard="reads", limit_s=100.0):
    return plan(plan_id, "An odd plan", hazard=hazard, measures=measures or ("alive",), limit_s=limit_s)


@odd("NT-01")
async def test_needs_what_is_missing(judge):
    raise NotTestable("rig lab1 has no chamber")


@odd("IN-01")
async def test_is_not_decided(judge, product):
    judge("alive", Measured(product.limits.rte_ac_min + 0.001, 0.01, "1"), "product_limits.rte_ac")


@odd("FA-01", "first", "second")
async def test_fails_and_goes_on(judge):
    judge("first", False, TRUE)
    judge("second", True, TRUE)


@odd("ER-01")
async def test_cannot_be_done(judge):
    judge("alive", True, TRUE)
    raise BenchError("the door is open")


@odd("AB-01")
async def test_is_stopped(judge):
    judge("alive", False, TRUE)
    raise Aborted("the interlock tripped")


@odd("OK-01")
async def test_passes(judge, battery):
    judge("alive", (await battery.voltage_v()).value > 0.0, TRUE)


@odd("NT-02")
async def test_fails_before_something_is_missing(judge):
    judge("alive", False, TRUE)
    raise NotTestable("rig lab1 has no chamber")


@odd("ER-02", "alive", "forgotten")
async def test_forgets_a_measure(judge):
    judge("alive", True, TRUE)


@odd("ER-03")
async def test_asserts(judge, battery):
    judge("alive", True, TRUE)
    assert (await battery.voltage_v()).value < 0.0


@odd("ER-04")
async def test_judges_by_no_requirement(judge):
    judge("alive", True, "rackproof_bench.is_ture")


@odd("ER-05")
async def test_judges_what_it_did_not_declare(judge):
    judge("alvie", True, TRUE)


@plan("ER-06", "An odd plan", hazard="reads", measures=(), limit_s=100.0)
async def test_declares_nothing():
    pass


@odd("ER-07", limit_s=5.0)
async def test_takes_too_long(judge, battery):
    judge("alive", True, TRUE)
    await asyncio.sleep(1000.0)


@odd("ER-08")
async def test_asks_for_what_nobody_has(judge, chamber):
    judge("alive", True, TRUE)


@odd("ER-09")
async def test_misses_its_stimulus(judge):
    judge.stimulus("sag", False, TRUE)
    judge("alive", True, TRUE)


@odd("ER-10")
async def test_skips_itself(judge):
    judge("alive", True, TRUE)
    pytest.skip("not today")


@odd("ER-11")
@pytest.mark.skip(reason="not today")
async def test_is_marked_to_be_skipped(judge):
    judge("alive", True, TRUE)


@odd("ER-12", hazard="energises")
async def test_cannot_come_to_rest(judge, bench):
    judge("alive", True, TRUE)
    bench.far_side.emulators["grid"].silent = True


@odd("ER-13", hazard="energises")
async def test_breaks_and_cannot_come_to_rest(judge, bench):
    bench.far_side.emulators["grid"].silent = True
    judge("alive", True, TRUE)
    raise BenchError("the door is open")


@odd("ER-14")
async def test_misspells_a_fixture(judge, batery):
    judge("alive", True, TRUE)


@odd("ER-15")
async def test_asks_for_a_role_by_the_word_of_rig_files(judge, power_analyzer):
    judge("alive", True, TRUE)


@odd("ER-16")
async def test_forgets_to_wait_for_a_reading(judge, battery):
    judge("alive", battery.is_charge_allowed(), TRUE)


@odd("ER-17")
async def test_polls_without_waiting(judge, battery):
    while (await battery.soc()).value > 0.0:
        pass


@odd("ER-18")
async def test_calls_what_there_is_not(judge, battery):
    await battery.charge()


@odd("ER-19", hazard="energises")
async def test_forgets_to_wait_for_a_command(judge, inverter):
    inverter.set_power_w(1000.0)
    await asyncio.sleep(1.0)
    judge("alive", True, TRUE)


@odd("ER-20")
async def test_hears_nothing_of_what_failed_beside_it(judge, battery):
    async def watch():
        await battery.voltage_v()
        raise ValueError("lost")

    watching = asyncio.create_task(watch())
    await asyncio.sleep(1.0)
    judge("alive", True, TRUE)
    del watching


@odd("ER-21")
async def test_cannot_be_done_for_two_reasons(judge):
    judge("alive", True, TRUE)
    raise BenchError("2 of 6 devices do not answer:\n  pcs: refused\n  relay: silent")


@odd("ER-22")
async def test_leaves_a_task_behind(judge, battery):
    async def watch():
        while True:
            await battery.voltage_v()
            await asyncio.sleep(1.0)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(2.5)
    judge("alive", not watching.done(), TRUE)


@odd("ER-23")
async def test_waits_by_the_wrong_clock(judge):
    sleep(2)  # noqa: ASYNC251 - who lints needs no refusal
    judge("alive", True, TRUE)


@odd("ER-24")
async def test_calls_back_and_does_not_hear_what_failed(judge):
    def notice():
        raise ValueError("unseen")

    asyncio.get_running_loop().call_later(1.0, notice)
    await asyncio.sleep(2.0)
    judge("alive", True, TRUE)


@odd("ER-25")
async def test_judges_after_its_end(judge):
    def late():
        judge("alive", False, TRUE, case="late")

    asyncio.get_running_loop().call_later(1.0, late)
    judge("alive", True, TRUE)


@odd("ER-26")
async def test_guards_a_limit_by_no_uncertainty(judge):
    judge("alive", Measured(0.860001, 0.0, "1"), "product_limits.rte_ac")


@odd("OK-02", hazard="energises")
async def test_commands_while_it_comes_to_rest(judge, inverter, grid):
    await energise(grid, inverter, f0_hz=60.0)
    await hold_power(inverter, 5000.0, tolerance_w=500.0)
    loop = asyncio.get_running_loop()
    loop.call_later(0.1, partial(loop.create_task, inverter.set_power_w(4321.25)))
    judge("alive", True, TRUE)


@odd("FA-02")
@pytest.mark.xfail(reason="known")
async def test_is_expected_to_fail(judge):
    judge("alive", False, TRUE)


def test_is_no_plan():
    """Stands beside plans, and pytest's own rules hold for it."""
