"""From waveforms and readings to values with their uncertainty, and from these to verdicts."""

from __future__ import annotations

from harness.judge.verdicts import Judge, Judgement, Verdict, decide

__all__ = ["Judge", "Judgement", "Verdict", "decide"]
