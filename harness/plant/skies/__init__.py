"""Skies as data: where a solar array stands, its air, and how clouds pass."""
