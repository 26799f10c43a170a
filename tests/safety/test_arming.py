"""Nobody energises a rig by accident: a person arms one rig file, for a time."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.errors import BenchError, ConfigurationError, Unsafe
from harness.rig.files import load_product, load_rig
from harness.safety.arming import arm, arming_of, disarm
from harness.safety.commissioned import place_of, read_commissioning, write_commissioning
from harness.safety.commissioning import commission
from harness.safety.commissioning_checks import CHECKS
from harness.safety.lease import Lease

from ..processes import LAB1, LFP_RACK

PRODUCT = load_product(LFP_RACK)


@pytest.fixture
def state(station: Path) -> Path:
    return station / "state" / "rackproof" / "armed"


@pytest.fixture
def rig():
    return load_rig(LAB1).model_copy(update={"emulated": True})


def test_a_rig_is_not_armed_from_the_start_and_says_how_to_arm_it(rig):
    reason = arming_of(rig, PRODUCT, "stresses", "mine.toml")
    assert reason.startswith("it is not armed, and the plan stresses")
    assert "'rackproof arm mine.toml --person NAME --minutes N'" in reason


def test_an_armed_rig_may_be_energised_until_it_is_disarmed(rig):
    arm(rig, PRODUCT, "A. Tester", 10.0)
    assert arming_of(rig, PRODUCT, "energises", "lab1") == ""
    disarm(rig)
    assert "not armed" in arming_of(rig, PRODUCT, "energises", "lab1")
    disarm(rig)  # nothing happens where there is nothing


def test_arming_holds_for_the_file_as_it_was(rig):
    """Whoever changes a rig file has not been asked whether the rig may be energised."""
    arm(rig, PRODUCT, "A. Tester", 10.0)
    changed = rig.model_copy(update={"nominal_voltage_v": 100.0})
    assert "not armed" in arming_of(changed, PRODUCT, "energises", "lab1")


def test_arming_holds_for_the_product_that_a_person_confirmed(rig):
    arm(rig, PRODUCT, "A. Tester", 10.0)
    other = PRODUCT.model_copy(update={"limits": PRODUCT.limits.model_copy(update={"rte_ac_min": 0.8})})
    for product in (other, load_product("zinc_halogen_rack")):
        reason = arming_of(rig, product, "energises", f"lab1 --product {product.name}")
        assert reason.startswith("A. Tester armed it for product lfp_rack as its file stood, and not for ")
        assert f"'rackproof arm lab1 --product {product.name} --person NAME" in reason


def test_hardware_is_armed_only_once_it_was_commissioned_as_its_file_stands(state):
    rig = load_rig(LAB1)
    with pytest.raises(
        Unsafe, match=r"rig lab1 cannot be armed: it was never commissioned as its file stands"
    ):
        arm(rig, PRODUCT, "A. Tester", 10.0)
    assert not state.exists()
    place = write_commissioning(rig, "A. Tester", [{"name": "polarity", "result": "passed"}])
    arm(rig, PRODUCT, "A. Tester", 10.0)
    edited = rig.model_copy(update={"nominal_voltage_v": 100.0})
    with pytest.raises(Unsafe, match="never commissioned as its file stands"):
        arm(edited, PRODUCT, "A. Tester", 10.0)
    place.write_text(place.read_text().replace("A. Tester", "B. Forger"))
    with pytest.raises(Unsafe, match="was changed after it was signed"):
        arm(rig, PRODUCT, "A. Tester", 10.0)


def test_a_rig_whose_commissioning_failed_is_not_armed():
    rig = load_rig(LAB1)
    write_commissioning(rig, "A. Tester", [{"name": "polarity", "result": "failed"}])
    with pytest.raises(Unsafe, match="commissioning did not pass: polarity"):
        arm(rig, PRODUCT, "A. Tester", 10.0)


@pytest.mark.parametrize("person", ["", "  "])
def test_somebody_answers_for_it(rig, person):
    with pytest.raises(Unsafe, match="--person is empty"):
        arm(rig, PRODUCT, person, 10.0)


@pytest.mark.parametrize("minutes", [0.0, -5.0, float("nan"), float("inf"), 1e12])
def test_arming_ends_within_a_day(rig, minutes):
    with pytest.raises(Unsafe, match=r"--minutes .*allowed: above 0, at most 1440"):
        arm(rig, PRODUCT, "A. Tester", minutes)
    assert "not armed" in arming_of(rig, PRODUCT, "energises", "lab1")


def test_arming_that_has_ended_is_none(rig, state):
    arm(rig, PRODUCT, "A. Tester", 10.0)
    (note,) = state.iterdir()
    note.write_text(json.dumps(json.loads(note.read_text()) | {"until": "2020-01-01T12:00:00+09:00"}))
    assert arming_of(rig, PRODUCT, "energises", "lab1").startswith("its arming by A. Tester ended at ")


@pytest.fixture
def unwritable(tmp_path, monkeypatch) -> Path:
    """Name a file where a folder for the state should be: not even root writes there."""
    place = tmp_path / "file"
    place.write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(place))
    return place


def test_a_permission_that_cannot_be_written_is_none_and_says_where(rig, unwritable):
    said = rf"^{unwritable}/rackproof/armed: cannot be written: Not a directory; .*XDG_STATE_HOME"
    with pytest.raises(BenchError, match=said):
        arm(rig, PRODUCT, "A. Tester", 10.0)
    with pytest.raises(BenchError, match=said):
        disarm(rig)
    assert arming_of(rig, PRODUCT, "energises", "lab1").startswith("its arming cannot be read")


def test_a_permission_that_cannot_be_replaced_or_taken_back_is_told(rig, state):
    arm(rig, PRODUCT, "A. Tester", 10.0)
    (note,) = state.iterdir()
    note.unlink()
    (note / "in the way").mkdir(parents=True)
    with pytest.raises(BenchError, match=rf"^{note}: cannot be written: Is a directory"):
        arm(rig, PRODUCT, "A. Tester", 10.0)
    with pytest.raises(BenchError, match=rf"^{note}: cannot be written: "):
        disarm(rig)


def test_a_commissioning_that_cannot_be_kept_is_told_and_a_damaged_one_is_none(rig):
    place = write_commissioning(rig, "A. Tester", [])
    place.write_text("[]")
    assert read_commissioning(rig) is None
    place.unlink()
    place.mkdir()
    with pytest.raises(BenchError, match=rf"^{place}: cannot be written: Is a directory"):
        write_commissioning(rig, "A. Tester", [])


@pytest.fixture
def no_folder_for_the_result(station, rig) -> str:
    place = station / "state" / "rackproof" / "commissioned"
    place.parent.mkdir(parents=True)
    place.write_text("")
    return f"{place}: cannot be written: File exists; "


@pytest.fixture
def no_file_for_the_result(rig) -> str:
    place = place_of(rig)
    place.mkdir()
    return f"{place}: cannot be written: Is a directory; "


@pytest.fixture
def a_key_that_others_read(station, rig) -> str:
    place = station / "config" / "rackproof" / "station_ed25519.pem"
    place.parent.mkdir(parents=True)
    place.write_text("")
    place.chmod(0o644)
    return f"{place}: others may read it"


@pytest.mark.parametrize(
    "trouble", ["no_folder_for_the_result", "no_file_for_the_result", "a_key_that_others_read"]
)
def test_a_commissioning_whose_result_could_not_be_signed_or_kept_is_not_begun(request, rig, state, trouble):
    """Neither is the rig held, nor is a line of it opened."""
    said = request.getfixturevalue(trouble)
    told: list[str] = []
    with pytest.raises((BenchError, ConfigurationError), match=f"^{re.escape(said)}"):
        commission(rig, load_product(LFP_RACK), "A. Tester", CHECKS, told.append)
    assert not told
    assert not state.with_name("leases").exists()


def test_a_rig_whose_lock_has_no_place_is_not_held(rig, unwritable):
    with pytest.raises(BenchError, match=rf"^{unwritable}/rackproof/leases: cannot be written"):
        Lease.take(rig)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"person": "A"}',
        '{"until": 7}',
        '{"until": "soon"}',
        '{"until": "2099-01-01"}',
        '{"until": "2099-01-01T12:00:00"}',
    ],
)
def test_a_note_that_cannot_be_read_is_none(rig, state, text):
    """A damaged permission is no permission, and no traceback."""
    arm(rig, PRODUCT, "A. Tester", 10.0)
    (note,) = state.iterdir()
    note.write_text(text)
    assert "rackproof arm lab1" in arming_of(rig, PRODUCT, "energises", "lab1")
