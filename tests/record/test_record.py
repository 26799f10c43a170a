import json
import re
from dataclasses import replace

import numpy as np
import pytest

from harness.errors import BenchError
from harness.judge.verdicts import Judge
from harness.readings import Measured, Reading, Waveform
from harness.record.journal import read_journal
from harness.record.logbook import station_key, verify
from harness.record.record import broken_links, read_document, record_of, seal, spell_document, without_ports
from harness.record.run import seal_folder
from harness.record.traces import read_capture, read_readings
from harness.requirements import Requirements


def play(run, plan, *, verdict="PASS", judged="."):
    recorder = run.plan(plan, {"residual": 0.2}, title="A sag", f0_hz=50.0, seed=1)
    recorder.note("identity", {"device": "inverter", "address": "127.0.0.1:40001"}, 0.0)
    for n in range(20):
        run.journal.reading(Reading(float(n), n * 0.5, "inverter.ac_power_w"))
    run.journal.reading(Reading(frozenset({"uv"}), 5.0, "inverter.alarms"))
    run.command("inverter.set_power_w", 1.0, 5000.0)
    recorder.capture("sag", {"pcs_ac.u1_v": Waveform(np.arange(50.0), 0.0, 100.0, "pcs_ac.u1_v")}, 0.2)
    recorder.judgement(
        {"measure": "restore time", "verdict": judged, "value": 0.1, "u": 0.01, "unit": "s"}, 9.0
    )
    recorder.outcome(verdict, "", 10.0)


def plan_bytes(folder, plan):
    document = read_document(folder / "record.json")
    (found,) = [each for each in document["plans"] if each["plan"] == plan]
    return spell_document(found)


def test_a_plan_alone_is_the_same_byte_for_byte_as_within_a_whole_run(new_run):
    whole, alone = new_run(), new_run()
    for plan in ("FO-01", "RT-01", "CC-01"):
        play(whole, plan)
    play(alone, "RT-01")
    whole.seal()
    alone.seal()
    assert plan_bytes(whole.folder, "RT-01") == plan_bytes(alone.folder, "RT-01")
    trace = "traces/RT-01.parquet"
    assert (whole.folder / trace).read_bytes() == (alone.folder / trace).read_bytes()


def test_equal_runs_give_equal_records_and_differing_logbooks(new_run):
    folders = []
    for _ in range(2):
        run = new_run()
        play(run, "RT-01")
        run.seal()
        folders.append(run.folder)
    first, second = folders
    assert (first / "record.json").read_bytes() == (second / "record.json").read_bytes()
    assert (first / "logbook.json").read_bytes() != (second / "logbook.json").read_bytes()


def test_a_sealed_run_verifies(new_run):
    run = new_run()
    play(run, "RT-01")
    record = run.seal()
    assert verify(run.folder) == ()
    assert record_of(read_document(run.folder / "record.json")) == record


def test_knows_no_ports_and_no_wall_clock(new_run):
    run = new_run()
    play(run, "RT-01")
    run.seal()
    text = (run.folder / "record.json").read_text()
    assert "40001" not in text
    assert "2026-11-21" not in text
    assert '"address": "127.0.0.1"' in text


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"address": "127.0.0.1:40001"}, {"address": "127.0.0.1"}),
        ({"address": "192.168.1.10:502", "port": 502}, {"address": "192.168.1.10"}),
        ({"resource": "TCPIP0::127.0.0.1::5025::SOCKET"}, {"resource": "TCPIP0::127.0.0.1::SOCKET"}),
        ({"url": "http://10.0.0.2:8080/redfish"}, {"url": "http://10.0.0.2/redfish"}),
        ({"address": "2001:db8:0:1"}, {"address": "2001:db8:0:1"}),
        ({"text": "nobody listens at 127.0.0.1:40001 now"}, {"text": "nobody listens at 127.0.0.1 now"}),
        ({"ratio": "3:10"}, {"ratio": "3:10"}),
    ],
)
def test_ports_are_taken_out_of_addresses_only(given, left):
    assert without_ports(given) == left


def test_a_run_that_was_killed_is_sealed_with_its_plan_aborted(new_run):
    run = new_run()
    play(run, "RT-01")
    recorder = run.plan("RT-02", title="A swell")
    run.journal.reading(Reading(1.0, 3.0, "inverter.ac_power_w"))
    recorder.judgement({"measure": "restore time", "verdict": "."}, 4.0)
    with run.journal.path.open("ab") as file:
        file.write(b'[999,5.0,"r",["inver')
    record = seal_folder(run.folder, run._wall())
    assert [plan.verdict for plan in record.plans] == ["PASS", "ABORTED"]
    assert record.plans[1].end_s == 4.0
    logbook = read_document(run.folder / "logbook.json")
    assert (logbook["is_complete"], logbook["torn_bytes"]) == (False, 20)
    assert verify(run.folder) == ()


def test_a_journal_torn_anywhere_gives_a_record_that_hangs_together(new_run):
    run = new_run()
    play(run, "RT-01")
    play(run, "RT-02", verdict="FAIL", judged="F")
    run.seal()
    events = read_journal(run.journal.path).events
    for count in range(1, len(events) + 1):
        record = seal(events[:count])
        assert broken_links(record) == []
        ended = sum(event.kind == "outcome" for event in events[:count])
        assert [plan.verdict for plan in record.plans][:ended] == ["PASS", "FAIL"][:ended]
        assert all(plan.verdict in {"ABORTED", "PASS", "FAIL"} for plan in record.plans)


def test_a_plan_is_never_better_than_its_worst_judgement(new_run):
    run = new_run()
    play(run, "RT-01", verdict="PASS", judged="F")
    assert run.seal().verdict == "FAIL"


def test_plans_run_one_after_the_other(new_run):
    run = new_run()
    run.plan("RT-01")
    with pytest.raises(BenchError, match="RT-01 has no outcome"):
        run.plan("RT-02")


def test_readings_between_plans_belong_to_none(new_run):
    run = new_run()
    play(run, "RT-01")
    run.journal.reading(Reading(1.0, 11.0, "bms.u_v"))
    play(run, "RT-02")
    record = run.seal()
    assert all("bms.u_v" not in plan.of_kind("readings")[0] for plan in record.plans)


def test_never_overwrites_a_run_and_points_latest_at_the_newest(new_run, station):
    run = new_run()
    twin = type(run)(run.runs, run.subject, run.attempt, wall=run._wall).open()
    assert twin.folder.name == f"{run.folder.name}_2"
    assert (station / "runs" / "latest").resolve() == twin.folder


def test_attempts_at_a_unit_are_counted_whatever_came_of_them(new_run):
    """Emulated ones apart; the folder of another unit, or of a run that never began, is none."""
    first, emulated = new_run(is_emulated=False), new_run()

    def next_attempt(serial="SN-1", **changes):
        unit = replace(first.subject.unit, serial=serial)
        subject = replace(first.subject, unit=unit, **changes)
        attempt = replace(first.attempt, number=None)
        run = type(first)(first.runs, subject, attempt, wall=first._wall).open()
        return read_journal(run.folder / "journal.jsonl").events[0].body["logbook"]["attempt"]["number"]

    assert [next_attempt(), next_attempt()] == [2, 3]
    assert next_attempt("SN/1") == 1, "its folder's name is the same"
    assert next_attempt("SN-1", product="another") == 1
    assert next_attempt("SN-1", is_emulated=True) == 2
    torn = first.runs / emulated.folder.name.replace("T09", "T08")
    torn.mkdir()
    (torn / "journal.jsonl").touch()
    assert next_attempt() == 4


def test_a_folder_is_named_by_letters_of_any_script(new_run):
    run = new_run()
    subject = replace(run.subject, unit=replace(run.subject.unit, serial="ユニット_7/甲"))
    twin = type(run)(run.runs, subject, run.attempt, wall=run._wall).open()
    assert twin.folder.name.split("_")[1:] == ["lab1", "ユニット-7-甲"]


def test_a_sealed_run_is_not_sealed_again(new_run):
    run = new_run()
    run.seal()
    with pytest.raises(BenchError, match="sealed already"):
        seal_folder(run.folder, run._wall())


def edit(path, change):
    document = json.loads(path.read_bytes())
    change(document)
    path.write_bytes(spell_document(document))


def turn_judgement(document):
    for entry in document["plans"][0]["entries"]:
        if entry["kind"] == "judgement":
            entry["body"]["verdict"] = "PASS"


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("record.json", turn_judgement, r"plan RT-01, entry \d+ \(judgement\) is not what was sealed"),
        ("record.json", lambda document: document["plans"].reverse(), "head does not follow"),
        (
            "record.json",
            lambda document: document["plans"][0]["entries"].pop(),
            "RT-01 has entries added, taken",
        ),
        (
            "record.json",
            lambda document: document["subject"]["unit"].update(serial="SN-2"),
            "head does not follow",
        ),
        ("record.json", lambda document: document["plans"][0].update(plan="RT-09"), "another name"),
        ("record.json", lambda document: document.update(schema=2), "schema 2"),
        ("record.json", lambda document: document.pop("plans"), "not a record"),
        ("logbook.json", lambda document: document.update(operator="nobody"), "changed after sealing"),
        ("logbook.json", lambda document: document.pop("signature"), "has no signature"),
    ],
)
def test_says_what_was_changed_in_a_document(new_run, name, change, says):
    run = new_run()
    play(run, "RT-01", verdict="FAIL", judged="F")
    play(run, "RT-02")
    run.seal()
    edit(run.folder / name, change)
    assert any(re.search(says, sentence) for sentence in verify(run.folder)), verify(run.folder)


def test_says_which_file_was_changed_added_or_taken_away(new_run):
    run = new_run()
    play(run, "RT-01")
    run.seal()
    trace = run.folder / "traces" / "RT-01.parquet"
    trace.write_bytes(trace.read_bytes() + b"\0")
    (run.folder / "traces" / "RT-01_sag.parquet").unlink()
    (run.folder / "traces" / "extra").write_text("x")
    found = "\n".join(verify(run.folder))
    assert "traces/RT-01.parquet: was changed" in found
    assert "traces/RT-01_sag.parquet: is gone" in found
    assert "traces/extra: was added" in found


def test_a_record_forged_whole_is_signed_by_a_key_that_nobody_trusts(new_run, station, monkeypatch):
    run = new_run()
    play(run, "RT-01")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(station / "forger"))
    run.seal()
    assert verify(run.folder) == ()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(station / "config"))
    (sentence,) = verify(run.folder)
    assert "not trusted here" in sentence


def test_a_key_written_twice_in_the_record_is_noticed(new_run):
    run = new_run()
    play(run, "RT-01")
    run.seal()
    path = run.folder / "record.json"
    path.write_text(path.read_text().replace('{\n "head"', '{\n "head": "0",\n "head"', 1))
    assert any("not spelled as it was sealed" in sentence for sentence in verify(run.folder))


def test_the_station_key_is_made_once_and_for_its_owner_only(station):
    first = station_key()
    path = station / "config" / "rackproof" / "station_ed25519.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    assert station_key().private_bytes_raw() == first.private_bytes_raw()
    path.chmod(0o644)
    with pytest.raises(Exception, match="others may read it"):
        station_key()


def test_traces_give_back_what_was_recorded(new_run):
    run = new_run()
    play(run, "RT-01")
    run.seal()
    series = read_readings(run.folder / "traces" / "RT-01.parquet")
    assert series["inverter.ac_power_w"].values.tolist() == [float(n) for n in range(20)]
    assert series["inverter.alarms"].texts == ('["uv"]',)
    channels, trigger_s = read_capture(run.folder / "traces" / "RT-01_sag.parquet")
    assert trigger_s == 0.2
    assert channels["pcs_ac.u1_v"].samples.tolist() == list(range(50))
    assert channels["pcs_ac.u1_v"].sample_rate_hz == 100.0


def test_takes_a_judgement_as_the_judge_makes_it(new_run):
    requirements = Requirements.load()
    requirement = next(
        each for each in requirements.values() if each.maximum and each.maximum.value and not each.of
    )
    run = new_run()
    recorder = run.plan("RT-01", f0_hz=50.0)
    judge = Judge(("restore time",), requirements, f0_hz=50.0, given={}, on_judgement=recorder.judgement)
    limits = requirement.resolve(50.0, {})
    judge("restore time", Measured(limits.maximum * 2 + 1, 0.001, limits.unit), requirement.id)
    recorder.outcome(judge.verdict(), "", 1.0)
    (body,) = run.seal().plans[0].judgements
    assert body["verdict"] == "FAIL"
    assert body["requirement"]["id"] == requirement.id
    assert body["limits"]["maximum"] == limits.maximum
    assert body["provenance"] == requirement.provenance


@pytest.mark.parametrize("kind", ["outcome", "plan", "r"])
def test_a_note_cannot_pass_for_an_event_of_the_record(new_run, kind):
    run = new_run()
    with pytest.raises(BenchError, match="record's own"):
        run.note(kind, {})
