import pytest

from harness.cli import main
from harness.record.logbook import LOGBOOK
from harness.record.record import read_document, spell_document
from harness.report.drawn import DRAWN, not_as_drawn, write_drawn


def test_what_was_drawn_is_what_is_drawn_again(sealed):
    write_drawn(sealed)
    assert not_as_drawn(sealed) == ([], [])


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_a_forged_page_is_told_and_drawn_again(sealed, capsys, name):
    """One word is enough: FAIL to PASS."""
    write_drawn(sealed)
    path = sealed / name
    true = path.read_bytes()
    path.write_bytes(true.replace(b"FAIL", b"PASS"))
    assert path.read_bytes() != true
    assert main(["verify", str(sealed)]) == 1
    said = f"{name}: does not say what the sealed files say; rackproof seal {sealed} draws it again\n"
    assert capsys.readouterr().out == said
    assert main(["seal", str(sealed)]) == 0
    assert path.read_bytes() == true
    capsys.readouterr()
    assert main(["verify", str(sealed)]) == 0
    assert capsys.readouterr().out == f"{sealed}: sealed, whole and signed\n"


def test_what_another_version_drew_is_said_to_be_not_covered(sealed):
    """It may have drawn better or worse; only the version that sealed the run can tell a forgery."""
    write_drawn(sealed)
    logbook = dict(read_document(sealed / LOGBOOK))
    logbook["versions"] = {**logbook["versions"], "rackproof": "0.0.9"}
    (sealed / LOGBOOK).write_bytes(spell_document(logbook))
    wrong, not_covered = not_as_drawn(sealed)
    assert wrong == []
    assert [each.split(":")[0] for each in not_covered] == ["report.html"], "the page names the versions"
    assert "not covered: sealed by rackproof 0.0.9" in not_covered[0]
