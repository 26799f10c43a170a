"""What stands before everything else where a rig was left unsafe: what is live, and what a person does."""

from __future__ import annotations

HEADLINE = "UNSAFE: the rig was left live, or nobody could verify that it is not"


def what_to_do(rig: str = "RIG") -> tuple[str, ...]:
    """Say what a person does, step by step.

    Args:
        rig: the name or file that the run was started with; a sealed run does not know it.
    """
    return (
        "keep everybody away from it: take as live whatever is named here, and whatever is not",
        f"'rackproof safe {rig}' tries once more to make it safe, and says what its sensors find",
        "where that does not help, isolate it by hand (emergency stop, disconnector), and measure by hand",
        f"'rackproof clear {rig} --person NAME' opens it for the next run, once somebody has seen to it",
    )


def unsafe_lines(live: tuple[str, ...], rig: str = "RIG") -> list[str]:
    """Write all of it in lines: the headline, what is live node by node, what to do; nothing where safe."""
    if not live:
        return []
    found = [line for each in live for line in outline(each)]
    steps = [f"{number}. {each}" for number, each in enumerate(what_to_do(rig), 1)]
    return [HEADLINE, *(f"  {line}" for line in found), "What to do:", *(f"  {step}" for step in steps)]


def outline(finding: str) -> list[str]:
    """Put each sensor of a finding on a line of its own, below the node."""
    node, _, said = finding.partition(": ")
    sensors = said.split("; ")
    return [finding] if len(sensors) == 1 else [f"{node}:", *(f"  {each}" for each in sensors)]
