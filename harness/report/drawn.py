"""Page and JUnit XML together: both are drawn of the sealed files, and can be drawn again and compared.

They are not sealed themselves, so that a later version can draw a better page of an old run. What seals
them is that they follow from what is sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from harness.record.logbook import LOGBOOK, versions, write_whole
from harness.record.record import read_document
from harness.report.html import PAGE, draw_report
from harness.report.junit import NAME, draw_junit

DRAWN: Mapping[str, Callable[[Path], bytes]] = {NAME: draw_junit, PAGE: draw_report}
"""How each file is drawn of a sealed run's folder."""


def write_drawn(run_dir: Path) -> Path:
    """Write all of them beside a sealed run, whether or not they were there; gives the page's path.

    Raises:
        BenchError: the run is not sealed, or a file could not be written.
    """
    for name, draw in DRAWN.items():
        write_whole(run_dir / name, draw(run_dir))
    return run_dir / PAGE


def not_as_drawn(run_dir: Path) -> tuple[list[str], list[str]]:
    """Draw each of them that is there again, and compare.

    Args:
        run_dir: of a sealed run that ``harness.record.logbook.verify`` has found whole.

    Returns:
        What was changed, and what this version cannot tell since another one sealed the run; a sentence each.

    Raises:
        BenchError: the run is not sealed.
    """
    differing = [
        name
        for name, draw in DRAWN.items()
        if (run_dir / name).exists() and (run_dir / name).read_bytes() != draw(run_dir)
    ]
    sealed_by = read_document(run_dir / LOGBOOK)["versions"].get("rackproof")
    here = versions().get("rackproof")
    again = f"rackproof seal {run_dir} draws it again"
    if sealed_by == here:
        return [f"{name}: does not say what the sealed files say; {again}" for name in differing], []
    return [], [
        f"{name}: not covered: sealed by rackproof {sealed_by}, and {here} draws it otherwise; {again}"
        for name in differing
    ]
