"""What a plan may do to a rig and its product, in the words of plans and rig files."""

from __future__ import annotations

from typing import Literal, get_args

Hazard = Literal["reads", "energises", "stresses", "destroys"]
HAZARDS: tuple[Hazard, ...] = get_args(Hazard)
"""Mildest first; each may do what those before it may."""
