"""What the documents tell a reader to type works, and says what they show."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from .processes import REPOSITORY, inherited

MARK = "# needs no hardware\n"
REAL_TIME = re.compile(r"  # \d+ s of real time$")
LONGEST_S = 120.0
"""Of one block, in real time, on a machine that is busy with something else: a bound, not a wait."""

FROZEN = "frozen:bms"

DOCUMENTS = sorted(
    path
    for path in (
        *REPOSITORY.glob("*.md"),
        *REPOSITORY.glob("*/README.md"),
        *REPOSITORY.glob("drivers/*/README.md"),
        *REPOSITORY.glob("docs/**/*.md"),
    )
    if not any(part.startswith(".") for part in path.relative_to(REPOSITORY).parts)
)


@dataclass(frozen=True)
class Block:
    """A shell block, and what the document says that it prints."""

    commands: str
    shown: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.commands.splitlines()[0]


@dataclass(frozen=True)
class Ended:
    code: int
    said: str


def blocks_of(text: str) -> list[Block]:
    """Shell blocks of a document, each with the block of output that follows it."""
    found = re.findall(r"```sh\n(.*?)```\n(?:\n```text\n(.*?)```)?", text, re.DOTALL)
    return [Block(commands, tuple(shown.splitlines())) for commands, shown in found]


def runnable(block: Block) -> Block | None:
    """Leave out the make targets, which CI runs by themselves, and what takes long in real time."""
    lines = block.commands.removeprefix(MARK).splitlines()
    kept = [line for line in lines if not line.startswith("make ") and not REAL_TIME.search(line)]
    return Block("\n".join(kept), block.shown) if kept else None


README_BLOCKS = blocks_of((REPOSITORY / "README.md").read_text(encoding="utf-8"))
BLOCKS = [
    kept
    for block in README_BLOCKS
    if block.commands.startswith(MARK) and (kept := runnable(block)) is not None
]
OWN_RIG = (
    """sed 's/^name = .*/name = "mybench"/; s/^plans = .*/plans = []/' """
    "fixtures/rigs/lab1.toml > mybench.toml\n"
)
"""What both documents with a plan tell to type, since lab1 lists the plans that it is for."""

PLANS = {
    name: re.findall(r"```python\n(.*?)```", (REPOSITORY / name).read_text(encoding="utf-8"), re.DOTALL)
    for name in ("testplans/README.md", "docs/tutorial.md")
}


def run(place: Path, commands: str) -> Ended:
    """Run shell commands as a reader would, in a checkout of their own and with a home of their own."""
    place.mkdir()
    for name in ("fixtures", "testplans", "pyproject.toml"):
        (place / name).symlink_to(REPOSITORY / name)
    process = subprocess.Popen(  # noqa: S603 - what the project's own documents say
        ["/bin/bash", "-euo", "pipefail", "-c", commands],
        cwd=place,
        env=inherited()
        | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "XDG_STATE_HOME": str(place / "state"),
            "XDG_CONFIG_HOME": str(place / "config"),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        raise AssertionError(f"not over within {LONGEST_S:g} s:\n{commands}\n{said}") from None
    return Ended(process.returncode, said)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Ended]]:
    """All that is run, two at a time, by name."""
    place = tmp_path_factory.mktemp("documents")
    works = {block.name: block.commands for block in BLOCKS}
    for name, (plan,) in PLANS.items():
        file = place / f"test_{name.replace('/', '_').removesuffix('.md').lower()}.py"
        file.write_text(plan, encoding="utf-8")
        works[name] = (
            f"{OWN_RIG}pytest {file} --rig=mybench.toml --emulate "
            "--rootdir=. -c pyproject.toml -p no:cacheprovider"
        )
    works[FROZEN] = works["testplans/README.md"] + f" --seed-fault {FROZEN}"
    pool = ThreadPoolExecutor(2)
    futures = {
        name: pool.submit(run, place / f"checkout{number}", commands)
        for number, (name, commands) in enumerate(works.items())
    }
    pool.shutdown(wait=False)
    return futures


def test_every_shell_block_of_the_readme_says_whether_it_needs_hardware():
    assert len(BLOCKS) >= 3
    for block in README_BLOCKS:
        assert block.commands.startswith(("# needs no hardware\n", "# needs hardware\n")), block.commands


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_a_block_of_the_readme_works_and_prints_what_it_shows(block, ended):
    result = ended[block.name].result()
    assert result.code == 0, result.said
    for line in block.shown:
        assert line in result.said


@pytest.mark.parametrize("name", PLANS)
def test_the_plan_of_a_document_passes_on_the_emulated_rig(name, ended):
    result = ended[name].result()
    assert result.code == 0, result.said
    assert "PASS" in result.said


@pytest.mark.parametrize("name", PLANS)
def test_a_document_with_a_plan_tells_to_make_a_rig_for_it(name):
    assert OWN_RIG in (REPOSITORY / name).read_text(encoding="utf-8")


def test_the_plan_of_the_plans_readme_catches_a_frozen_battery(ended):
    result = ended[FROZEN].result()
    assert result.code == 1, result.said
    assert "FAIL" in result.said
    assert "current telemetry" in result.said


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_of_a_document_leads_somewhere(document):
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", text):
        file = (document.parent / target).resolve() if target else document
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in headings}
