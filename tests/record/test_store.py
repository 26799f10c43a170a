import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from harness.cli import main
from harness.errors import BenchError
from harness.record.store import JudgementRow, RunRow, file_acceptance, file_run, open_store

VERIFIED = {
    "measure": "restore time",
    "verdict": ".",
    "value": 0.1,
    "u": 0.01,
    "unit": "s",
    "is_verified": True,
}


@pytest.fixture
def store(station):
    (station / "runs").mkdir(exist_ok=True)
    engine = open_store(station / "runs")
    yield engine
    engine.dispose()


def sealed(run, plan="RT-01[50 Hz]", judgement=VERIFIED, **facts):
    recorder = run.plan(plan, f0_hz=50.0, **facts)
    recorder.judgement(judgement, 1.0)
    recorder.outcome(judgement["verdict"], "", 2.0)
    run.seal()
    return run.folder


def test_files_a_run_once_however_often_it_is_asked(new_run, store):
    folder = sealed(new_run(is_emulated=False))
    assert file_run(folder, store) == file_run(folder, store)
    with Session(store) as session:
        (row,) = session.scalars(select(RunRow)).all()
        assert (row.serial, row.verdict, row.is_emulated, row.attempts_allowed) == ("SN-1", "PASS", False, 3)
        (judgement,) = session.scalars(select(JudgementRow)).all()
        assert (judgement.measure, judgement.value) == ("restore time", 0.1)


def test_files_an_acceptance_that_has_all_it_needs(new_run, store):
    folder = sealed(new_run(is_emulated=False))
    file_acceptance(folder, store, {"RT-01"})
    with Session(store) as session:
        assert session.scalars(select(RunRow.is_acceptance)).all() == [True]


def test_never_files_an_emulated_run_as_acceptance(new_run, store):
    folder = sealed(new_run())
    with pytest.raises(BenchError, match="emulated"):
        file_acceptance(folder, store, {"RT-01"})
    file_run(folder, store)
    with Session(store) as session:
        assert session.scalars(select(RunRow.is_emulated)).all() == [True]


@pytest.mark.parametrize(
    ("judgement", "facts", "says"),
    [
        ({**VERIFIED, "verdict": "F"}, {}, "is FAIL"),
        ({**VERIFIED, "is_verified": False, "requirement": "jeac.x"}, {}, "judged by jeac.x, not verified"),
        (VERIFIED, {"does_not_show": "the second sag"}, "does not show the second sag"),
    ],
)
def test_refuses_an_acceptance_that_would_not_stand(new_run, store, judgement, facts, says):
    folder = sealed(new_run(is_emulated=False), judgement=judgement, **facts)
    with pytest.raises(BenchError, match=says):
        file_acceptance(folder, store, {"RT-01"})


def test_refuses_an_acceptance_with_a_plan_missing_or_a_file_changed(new_run, store):
    folder = sealed(new_run(is_emulated=False))
    (folder / "journal.jsonl").write_bytes(b"")
    with pytest.raises(BenchError) as refusal:
        file_acceptance(folder, store, {"RT-01", "CC-01"})
    assert "plan CC-01 was not run" in str(refusal.value)
    assert "journal.jsonl: was changed" in str(refusal.value)


def test_refuses_an_acceptance_of_a_run_that_ended_before_all_its_plans(new_run, store):
    """Each id was run; a form of one of them was not."""
    folder = sealed(new_run(is_emulated=False, planned=["RT-01[50 Hz]", "RT-01[60 Hz]"]))
    with pytest.raises(BenchError, match=r"plan RT-01\[60 Hz\] was not begun"):
        file_acceptance(folder, store, {"RT-01"})


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("all.sqlite", "all.sqlite: no address of a database; allowed: as SQLAlchemy writes it, "),
        (
            "postgresql://me:secret@srv:port/runs",
            "postgresql://***@srv:port/runs: no address of a database; ",
        ),
        ("nosuch://me:se/cret@srv:x/runs", "nosuch://***@srv:x/runs: "),
        ("nosuch://srv/runs?user=me&password=secret", "nosuch://srv/runs?user=me&password=***: "),
        ("nosuch://me:secret@srv/runs", "nosuch://***@srv/runs: cannot be opened: "),
        (
            "sqlite:///nowhere/all.sqlite",
            "sqlite:///nowhere/all.sqlite: cannot be opened: unable to open data",
        ),
        ("sqlite:///file", "sqlite:///file: cannot be opened: file is not a database\n"),
    ],
)
def test_a_store_that_cannot_be_had_is_told_in_a_line_without_its_password(
    capsys, monkeypatch, new_run, url, says
):
    folder = sealed(new_run())
    monkeypatch.chdir(folder)
    (folder / "file").write_text("no database " * 100)
    assert main(["file", str(folder), "--store", url]) == 4
    head, line = capsys.readouterr().err.splitlines(keepends=True)
    assert head == "1 mistake:\n"
    assert line.startswith(f"  store {says}")


def test_a_store_that_may_not_be_written_is_told_in_a_line(capsys, station, new_run, store):
    folder = sealed(new_run())
    url = f"sqlite:///file:{station}/runs/rackproof.sqlite?mode=ro&uri=true"
    assert main(["file", str(folder), "--store", url]) == 1
    words = "the store refused it: attempt to write a readonly database"
    assert capsys.readouterr().err == f"{folder.name}: {words}\n"
