"""The faults of a stream line: what each does to a message, and that each is used up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.wires.faults import Direction, StreamFaults

TO, FROM = Direction.TO_DEVICE, Direction.FROM_DEVICE


def carried(faults, *messages, direction=FROM):
    return [tuple(faults(direction is TO, message)) for message in messages]


def whole(*messages):
    return [((0.0, message),) for message in messages]


def test_without_a_fault_everything_passes_as_it_is():
    assert carried(StreamFaults(), b"a", b"b") == whole(b"a", b"b")


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize(
    ("fault", "once"),
    [
        ("drop", ()),
        ("duplicate", ((0.0, b"abc"), (0.0, b"abc"))),
        ("corrupt", ((0.0, b"a\x9dc"),)),  # the middle byte inverted: 0x62 to 0x9D
    ],
)
def test_a_counted_fault_acts_on_the_next_messages_of_its_direction(fault, once, direction):
    faults = StreamFaults()
    getattr(faults, fault)(2, direction)
    (other,) = {TO, FROM} - {direction}
    assert carried(faults, b"abc", direction=other) == whole(b"abc")
    assert carried(faults, b"abc", b"abc", b"abc", direction=direction) == [once, once, ((0.0, b"abc"),)]


@pytest.mark.parametrize("direction", Direction)
def test_each_delay_is_for_one_message(direction):
    faults = StreamFaults()
    faults.delay(0.5, 0.25, direction=direction)
    assert carried(faults, b"a", b"b", b"c", direction=direction) == [
        ((0.5, b"a"),),
        ((0.25, b"b"),),
        ((0.0, b"c"),),
    ]


def test_counts_add_up():
    faults = StreamFaults()
    faults.drop()
    faults.drop()
    assert carried(faults, b"a", b"b", b"c") == [(), (), ((0.0, b"c"),)]


def test_faults_act_together_and_a_lost_message_uses_up_only_its_loss():
    faults = StreamFaults()
    faults.drop()
    faults.delay(0.5)
    faults.duplicate()
    faults.corrupt()
    assert carried(faults, b"a", b"b") == [(), ((0.5, b"\x9d"), (0.5, b"\x9d"))]


def test_a_cable_pulled_out_uses_nothing_up():
    faults = StreamFaults()
    faults.duplicate()
    faults.is_cut = True
    assert carried(faults, b"a", direction=TO) == [()]
    assert carried(faults, b"a") == [()]
    faults.is_cut = False
    assert carried(faults, b"a") == [((0.0, b"a"), (0.0, b"a"))]


def test_a_line_that_nobody_serves_cannot_hang_up():
    faults = StreamFaults()
    faults.hang_up()
    assert faults.line is None


@given(st.binary(min_size=1, max_size=300))
def test_damage_changes_one_byte_and_twice_the_same_damage_heals(message):
    faults = StreamFaults()
    faults.corrupt(2)
    ((_, once),) = faults(False, message)
    assert sum(a != b for a, b in zip(once, message, strict=True)) == 1
    ((_, twice),) = faults(False, once)
    assert twice == message
