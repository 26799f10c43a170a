"""Rackproof: a hardware-in-the-loop test harness for battery and server racks."""
