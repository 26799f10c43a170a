from datetime import UTC, datetime

import pytest

from harness.record.run import Attempt, Run, Subject, Unit


@pytest.fixture
def new_run(station):
    """Opens runs one after the other, each a minute later by the wall clock."""
    minutes = iter(range(60))

    def make(*, is_emulated=True, runs="runs", planned=()):
        moment = datetime(2026, 11, 21, 9, next(minutes), tzinfo=UTC)
        subject = Subject(
            rig="lab1",
            product="pcs_10kva_48v",
            unit=Unit(serial="SN-1", sub_units={"module 1": "ZM-1"}, lot="L7", firmware="1.4"),
            is_emulated=is_emulated,
            clock="simulated" if is_emulated else "wall",
        )
        attempt = Attempt(station="bench 3", operator="M. Sato", order="PO-1", number=1, of=3)
        return Run(station / runs, subject, attempt, wall=lambda: moment, planned=planned).open()

    return make
