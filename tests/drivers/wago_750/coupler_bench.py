"""A coupler behind a real Modbus line, for the tests beside this file."""

from drivers import wago_750

from ..stands import on_modbus

INPUTS = {"e_stop_released": 1, "door_closed": 2, "battery_contactor_closed": 8}
OUTPUTS = {"chain": 1, "battery_enable": 3}


def stand(voice=None, unit=1, served=None):
    """A coupler and its driver; ``changes`` is what ``on_output`` was told."""
    options = wago_750.Options(unit=unit, inputs=INPUTS, outputs=OUTPUTS)
    return on_modbus(wago_750, "safety", options, tells="on_output", voice=voice, served=served)
