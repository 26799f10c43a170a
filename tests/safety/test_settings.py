"""A product leaves the rig with the settings that it came with, or everybody is told that it does not."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

import pytest

from harness.record.journal import read_journal

from ..processes import Ended, Home, side_by_side
from .discharging import World, drills, wait_for_rest, wait_for_seal, world

CHANGED = {"703.ESVHi": 118.0, "703.ESDlyTms": 7.0}
"""What the plan leaves open: a unit that comes back at 1.18 per unit, after 7 s."""

WAITS = """
    while not (HERE / "go").exists():
        await asyncio.sleep(0.05)
    judge('alive', True, 'rackproof_bench.is_true')
    return
"""


def goes_on(stand: World) -> None:
    (stand.home.path / "plans" / "go").touch()


def killed(stand: World) -> None:
    stand.run.send_signal(signal.SIGKILL)


ENDINGS = {"the plan's end": goes_on, "SIGKILL": killed, "a trip": drills("input safety.door_closed off")}


@dataclass(frozen=True)
class Left:
    """What is left of one ending.

    Attributes:
        ended: the test process.
        after: the product's settings, read back over the wire, with the run and its guard gone.
    """

    ended: Ended
    after: Mapping[str, float]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, bool], Future[Left]]:
    """All endings with a product that refuses its settings, and the worst with one that takes them."""
    cases = [("SIGKILL", False), *((ending, True) for ending in ENDINGS)]

    def work(ending: str, is_locked: bool) -> Callable[[], Left]:
        home = Home(tmp_path_factory.mktemp("left"))
        return lambda: end(home, ENDINGS[ending], is_locked=is_locked)

    return dict(zip(cases, side_by_side([work(*case) for case in cases], 4), strict=True))


def end(home: Home, ending: Callable[[World], None], *, is_locked: bool) -> Left:
    with world(home, settings=CHANGED, ending=WAITS) as stand:
        if is_locked:
            stand.drill("locked pcs on")
        ending(stand)
        wait_for_rest(stand)
        ended = stand.ends()
        wait_for_seal(ended)
        return Left(ended, stand.settings())


def test_the_guard_leaves_the_settings_that_were_found(left):
    """Of a run that was killed after its plan had changed them."""
    of = left["SIGKILL", False].result()
    events = read_journal(of.ended.folder / "journal.jsonl").events
    (found,) = (event.body for event in events if event.kind == "settings found")
    assert all(found[name] != value for name, value in CHANGED.items()), "the plan changed nothing"
    other = {name for name in found if of.after[name] != found[name]}
    assert other <= {"123.Conn", "704.WSetEna", "704.WSetMod", "704.WSet"}  # power, which is never restored
    assert "settings not restored" not in of.ended.said


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_product_that_refuses_is_a_finding_of_its_own(left, ending):
    """Off, verified, and not to be shipped: the record says so, the terminal says so, no exit code is 0."""
    of = left[ending, True].result()
    ended = of.ended
    assert {name: of.after[name] for name in CHANGED} == CHANGED
    assert ended.code != 0
    assert "settings not restored" in ended.said
    for name, value in CHANGED.items():
        assert f"{name} is {value:g} for " in ended.said
    (outcome,) = (event["body"] for event in ended.record.guard if event["kind"] == "outcome")
    assert outcome["is_safe"] is True
    assert "settings not restored" in outcome["text"]
    if ending != "SIGKILL":  # of which no plan can say anything any more
        plan = next(each for each in ended.record.plans if "settings not restored: " in each.message)
        assert plan.verdict in {"ERROR", "ABORTED"}
