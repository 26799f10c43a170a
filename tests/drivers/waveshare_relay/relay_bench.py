"""A relay board behind a real Modbus line, for the tests beside this file."""

from drivers import waveshare_relay

from ..stands import on_modbus

FAULTS = {"bms_can_open": 1, "pcs_can_open": 3, "earth_fault": 8}


def stand(voice=None, unit=1, served=None):
    """A board and its driver; ``changes`` is what ``on_change`` was told."""
    options = waveshare_relay.Options(unit=unit, faults=FAULTS)
    return on_modbus(waveshare_relay, "relay", options, tells="on_change", voice=voice, served=served)
