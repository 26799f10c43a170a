"""One run a rig; a rig that was not left safe stays closed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from harness.errors import Unsafe
from harness.rig.files import load_rig
from harness.safety.lease import ENERGISED, SAFE, UNSAFE, Lease, clear

from ..processes import LAB1, REPOSITORY


@pytest.fixture
def rig():
    return load_rig(LAB1)


def test_a_second_run_is_refused_with_who_since_when_and_where(rig):
    held = Lease.take(rig)
    with pytest.raises(Unsafe) as refused:
        Lease.take(rig)
    held.close()
    said = str(refused.value)
    assert held.holder.person in said
    assert held.holder.host in said
    assert held.holder.since in said
    assert f"process {os.getpid()}" in said
    Lease.take(rig).close()


def test_another_file_that_shares_one_wire_is_the_same_rig(rig):
    """A copy under another name, with all wires but one moved elsewhere."""
    wires = {
        name: wire if name == "pcs_lan" else wire.model_copy(update={"host": "192.0.2.99"})
        for name, wire in rig.wires.items()
        if name in {"pcs_lan", "relay_lan"}
    }
    other = rig.model_copy(update={"name": "copy", "wires": wires})
    apart = rig.model_copy(update={"name": "apart", "wires": {"relay_lan": wires["relay_lan"]}})
    held = Lease.take(rig)
    with pytest.raises(Unsafe, match="rig copy: wire pcs_lan is held by"):
        Lease.take(other)
    Lease.take(apart).close()
    held.close()


def test_who_reads_holds_the_wires_that_are_read_and_no_other(rig):
    held = Lease.take(rig)
    with pytest.raises(Unsafe, match="wire analyzer_lan is held by"):
        Lease.take(rig, to_read={"analyzer_lan"})
    Lease.take(rig, to_read=set()).close()
    held.close()
    reading = Lease.take(rig, to_read={"analyzer_lan"})
    Lease.take(rig, to_read={"safety_lan"}).close()
    with pytest.raises(Unsafe, match="wire analyzer_lan is held by"):
        Lease.take(rig)
    reading.close()


def test_nobody_reads_on_a_rig_that_was_left_energised(rig):
    """To ask the safety coupler is to feed its watchdog, which is all that is left to switch that rig off."""
    held = Lease.take(rig)
    held.write(ENERGISED)
    held.close()
    with pytest.raises(Unsafe, match=r"was left energised by .*: run 'rackproof safe RIG' first"):
        Lease.take(rig, to_read={"safety_lan"})
    Lease.take(rig, for_recovery=True).leave("", is_safe=True)


HOLD = """
import os, sys
from harness.rig.files import load_rig
from harness.safety.lease import Lease
lease = Lease.take(load_rig({rig!r}))
lease.write({state!r}, "a cause")
if {child}:
    child = os.fork()
    if child == 0:
        sys.stdin.read()
        os._exit(0)
print("held", flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("state", [SAFE, ENERGISED, UNSAFE])
def test_what_a_killed_holder_left_decides_who_gets_the_rig(rig, state):
    text = HOLD.format(rig=str(LAB1), state=state, child=False)
    ended = subprocess.run(  # noqa: S603 - our own text
        [sys.executable, "-c", text], cwd=REPOSITORY, check=False, capture_output=True
    )
    assert ended.returncode == -9, ended.stderr
    if state == SAFE:
        Lease.take(rig).close()
        return
    with pytest.raises(Unsafe, match="rackproof safe RIG"):
        Lease.take(rig)
    recovery = Lease.take(rig, for_recovery=True)
    assert (recovery.holder.state, recovery.holder.cause) == (state, "a cause")
    recovery.write(SAFE)
    recovery.close()
    Lease.take(rig).close()


def test_the_lock_lasts_as_long_as_its_last_holder(rig):
    """A guard that inherited it keeps a rig whose test process was killed."""
    text = HOLD.format(rig=str(LAB1), state=SAFE, child=True)
    process = subprocess.Popen(  # noqa: S603 - our own text
        [sys.executable, "-c", text], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"held\n"
    assert process.wait() == -9
    with pytest.raises(Unsafe, match="is held by"):
        Lease.take(rig)
    process.stdin.close()
    assert process.stdout.read() == b""  # its child has ended too
    Lease.take(rig).close()
    process.stdout.close()


def test_a_person_opens_a_rig_that_was_left_unsafe_and_answers_for_it(rig):
    lease = Lease.take(rig)
    lease.write(UNSAFE, "the contactor is welded")
    lease.close()
    with pytest.raises(Unsafe, match="--person is empty"):
        clear(rig, " ")
    assert clear(rig, "A. Tester") == "the contactor is welded"
    Lease.take(rig).close()
    with pytest.raises(Unsafe, match="nothing to clear"):
        clear(rig, "A. Tester")


@pytest.mark.parametrize("damage", [b'{"rig": "lab1", "sta', b"[]", b'{"rig": 1}', b"\0" * 80])
def test_a_damaged_note_beside_the_lock_is_no_reason_to_believe_in_safety(rig, station, damage):
    """The power may have gone while it was written that the rig is energised."""
    Lease.take(rig).close()
    note, *_ = sorted((station / "state" / "rackproof" / "leases").glob("*.json"))
    note.write_bytes(damage)
    with pytest.raises(Unsafe, match=r"somebody whose note is damaged .* run 'rackproof safe RIG' first"):
        Lease.take(rig)
    recovery = Lease.take(rig, for_recovery=True)
    recovery.write(SAFE)
    recovery.close()
    Lease.take(rig).close()


def test_accounts_that_share_a_folder_share_the_lock(rig, tmp_path, monkeypatch):
    """All that is made in a folder of a group is the group's, whatever the maker's umask."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2775)
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr("harness.safety.lease.SHARED_STATE", shared)
    before = os.umask(0o077)
    try:
        held = Lease.take(rig)
    finally:
        os.umask(before)
    assert (shared / "leases").stat().st_mode & 0o7777 == 0o2775
    notes = list((shared / "leases").iterdir())
    assert len(notes) == len(rig.wires)
    assert all(note.stat().st_mode & 0o777 == 0o664 for note in notes)
    held.close()
