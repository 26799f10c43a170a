"""Bytes that our own codec did not make: registers computed by hand, and pysunspec2 at either end."""

import asyncio
import contextlib
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from drivers.sunspec_storage import Driver, Emulator, Options, bms_frames, codec, points
from harness.clock import run_virtual, run_wall
from harness.errors import CodecError, DeviceRefused
from harness.plant import RigPlant
from harness.readings import Voice
from harness.roles import Identity, OperatingState
from harness.testing.loopback import modbus_pair
from harness.wires.modbus import ModbusTcpServer

from .sunspec_bench import SPEC, Registers, pysunspec2_image, stand

POINTS = [point for number in points.MODELS for point in points.model(number).points.values()]
NUMBERS = [point for point in POINTS if point.type != "string"]
STRINGS = [point for point in POINTS if point.type == "string"]

# Registers after ID and length, counted in the published tables of each model.
LENGTHS = {
    1: 66,
    103: 50,
    120: 26,
    121: 30,
    123: 24,
    124: 24,
    701: 153,
    702: 50,
    703: 17,
    704: 65,
    713: 7,
    715: 7,
    802: 62,
}

# Where each model must stand behind a base of 40000: two registers of marker, two of header a model.
ADDRESSES = dict(
    zip(LENGTHS, itertools.accumulate((n + 2 for n in LENGTHS.values()), initial=40002), strict=False)
)


# --- the map ------------------------------------------------------------------------------------


def test_models_are_as_long_as_published():
    assert {number: points.model(number).length for number in points.MODELS} == LENGTHS


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("103.DCW", (31, 1, "int16", "DCW_SF", False)),
        ("103.WH", (24, 2, "acc32", "WH_SF", False)),
        ("123.Conn", (4, 1, "enum16", "", True)),
        ("701.Hz", (17, 2, "uint32", "Hz_SF", False)),
        ("701.TotWhAbs", (23, 4, "uint64", "TotWh_SF", False)),
        ("701.MnAlrmInfo", (123, 32, "string", "", False)),
        ("702.WDisChaRteMaxRtg", (11, 1, "uint16", "W_SF", False)),
        ("704.WSet", (24, 2, "int32", "WSet_SF", True)),
        ("704.WSetRvrtRem", (33, 2, "uint32", "", False)),
        ("704.PFWAbsRvrt.Ext", (66, 1, "enum16", "", True)),
        ("715.DERHb", (3, 2, "uint32", "", False)),
        ("715.ControllerHb", (5, 2, "uint32", "", True)),
        ("715.OpCtl", (8, 1, "enum16", "", True)),
        ("802.W", (47, 1, "int16", "W_SF", False)),
    ],
)
def test_points_lie_where_the_published_tables_say(name, place):
    number, point_name = name.split(".", 1)
    point = points.model(int(number)).points[point_name]
    assert (point.offset, point.size, point.type, point.scale, point.is_writable) == place


def test_points_lie_one_behind_the_other():
    for number in points.MODELS:
        offset = 0
        for point in points.model(number).points.values():
            assert point.offset == offset, f"{point}"
            offset += point.size


def test_power_commands_are_writable_points():
    writable = {str(point) for point in POINTS if point.is_writable}
    assert writable >= points.POWER_COMMANDS


# --- the codec ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "registers", "raw"),
    [
        ("701.W", [0xFE0C], -500),  # 0x10000 - 500
        ("701.W", [0x01F4], 500),
        ("701.A_SF", [0xFFFE], -2),
        ("704.WSet", [0xFFFF, 0xEC78], -5000),  # 0x1_0000_0000 - 5000, high word first
        ("701.Hz", [0x0000, 0xEA60], 60000),
        ("701.TotWhInj", [0, 1, 0, 2], 4294967298),  # 2**32 + 2
        ("103.WH", [0x0001, 0x0000], 65536),
    ],
)
def test_numbers_by_hand(name, registers, raw):
    number, point_name = name.split(".", 1)
    point = points.model(int(number)).points[point_name]
    assert codec.to_int(point, registers) == raw
    assert codec.from_int(point, raw) == registers


def test_text_by_hand():
    point = points.model(1).points["Vr"]
    assert codec.to_text(point, [0x312E, 0x3200, 0, 0, 0, 0, 0, 0]) == "1.2"
    assert codec.from_text(point, "1.2") == [0x312E, 0x3200, 0, 0, 0, 0, 0, 0]


@given(st.data())
def test_numbers_come_back(data):
    point = data.draw(st.sampled_from(NUMBERS))
    raw = data.draw(st.integers(point.kind.lowest, point.kind.highest))
    registers = codec.from_int(point, raw)
    assert len(registers) == point.size
    assert codec.to_int(point, registers) == raw


@given(st.data())
def test_numbers_beyond_the_type_are_refused(data):
    point = data.draw(st.sampled_from(NUMBERS))
    beyond = st.integers(max_value=point.kind.lowest - 2) | st.integers(min_value=point.kind.highest + 2)
    with pytest.raises(DeviceRefused, match="holds"):
        codec.from_int(point, data.draw(beyond))


@given(st.data())
def test_texts_come_back(data):
    point = data.draw(st.sampled_from(STRINGS))
    characters = st.characters(exclude_characters="\0", exclude_categories=("Cs", "Z", "Cc"))
    text = data.draw(st.text(characters, max_size=point.size // 2))
    assert codec.to_text(point, codec.from_text(point, text)) == text


@given(st.floats(-30000.0, 30000.0), st.integers(-3, 3))
def test_scaling_is_right_to_half_a_step(value, exponent):
    raw = codec.unscaled(value, exponent)
    assert abs(codec.scaled(raw, exponent) - value) <= 0.5000001 * 10.0**exponent


@given(st.data())
def test_no_registers_raise_anything_but_codec_error(data):
    model = points.model(data.draw(st.sampled_from(points.MODELS)))
    registers = data.draw(st.lists(st.integers(-5, 0x1_0005), max_size=model.size + 3))
    block = codec.Block("unit", model, 0, registers, 0.0)
    point = data.draw(st.sampled_from(list(model.points.values())))
    with contextlib.suppress(CodecError, DeviceRefused):
        if point.type == "string":
            block.text(point.name)
        else:
            block.value(point.name)
            block.bits(point.name)
            block.symbol(point.name)


@given(st.binary(max_size=8))
def test_no_frame_of_the_battery_raises(octets):
    for decode in (bms_frames.limits, bms_frames.state_of_charge, bms_frames.measurements):
        decode(octets)


def test_battery_frames_of_a_published_capture():
    # Captures of a Pylontech v1.2 (setfirelabs.com, "Pylontech battery CAN comms v1.2 vs v1.3").
    heard = bms_frames.limits(bytes.fromhex("1402C012C012C201"))
    assert heard is not None
    assert heard.charge_voltage_limit_v == pytest.approx(53.2)
    assert heard.charge_current_limit_a == pytest.approx(480.0)
    assert heard.discharge_current_limit_a == pytest.approx(480.0)
    assert bms_frames.state_of_charge(bytes.fromhex("58005E00")) == pytest.approx((0.88, 0.94))
    # The wire counts charging positive: -27.0 A there leaves the battery.
    assert bms_frames.measurements(bytes.fromhex("7A13F2FE6B01")) == pytest.approx((49.86, 27.0))


# --- the emulator's registers, computed by hand --------------------------------------------------


def test_emulated_registers_by_hand():
    """10 kVA, 200 V line to line, 56 V DC, state of charge 0.5: read raw, past driver and codec."""

    async def main():
        async with stand() as at:
            read = at.line.read_holding
            assert await read(1, 40000, 4) == [0x5375, 0x6E53, 1, 66]
            assert await read(1, 40004, 5) == [0x5261, 0x636B, 0x7072, 0x6F6F, 0x6600]  # "Rackproof"
            for number, address in ADDRESSES.items():
                assert await read(1, address, 2) == [number, LENGTHS[number]]
            assert await read(1, 40609, 2) == [0xFFFF, 0]
            # 702: WMaxRtg +2, WChaRteMaxRtg +10, WDisChaRteMaxRtg +11, VNomRtg +14, W_SF +45, V_SF +49
            assert await read(1, 40391, 1) == [10000]
            assert await read(1, 40399, 2) == [10000, 10000]
            assert await read(1, 40403, 1) == [20000]
            assert await read(1, 40434, 1) == [0]
            assert await read(1, 40438, 1) == [0xFFFE]
            # 713: SoC +4, SoH +5, Sta +6, WH_SF +7, Pct_SF +8
            assert await read(1, 40531, 5) == [500, 1000, 0, 0, 0xFFFF]
            # 802: Typ +21 lithium-ion
            assert await read(1, 40566, 1) == [4]
            # 704: WSetEna +22, WSetMod +23, WSet +24
            await at.driver.set_power_w(-5000.0)
            assert at.line.writes[-1] == (1, 40482, [1, 1, 0xFFFF, 0xEC78])
            assert await read(1, 40482, 4) == [1, 1, 0xFFFF, 0xEC78]
            # 701 while it charges: InvSt +4 running, DERMode +8 grid following, W +10 near -5000
            await at.run_at(-5000.0)
            (state,) = await read(1, 40238, 1)
            assert state == 3
            assert await read(1, 40242, 2) == [0, 1]
            (power,) = await read(1, 40244, 1)
            assert power - 0x10000 == pytest.approx(-5000, abs=20)
            # Hz +17, uint32 in mHz: 60000 = 0xEA60
            assert await read(1, 40251, 2) == [0, 0xEA60]
            # 103: St +38 counts from 1: running (MPPT) is 4
            assert await read(1, 40108, 1) == [4]

    run_virtual(main)


# --- pysunspec2 as the other maker ---------------------------------------------------------------


@pytest.mark.parametrize("base", [40000, 0, 50000])
def test_reads_a_map_that_pysunspec2_encoded(base):
    async def main():
        unit = Registers(base, pysunspec2_image())
        async with modbus_pair({1: unit}) as line:
            driver = Driver("other", line, Options(), Voice("other"))
            await driver.open()
            assert await driver.identity() == Identity("Another maker", "ESS 50", "A-17", "7.1")
            assert (await driver.rated_power_w()).value == 50_000.0
            assert (await driver.ac_power_w()).value == -23_000.0
            assert (await driver.reactive_power_var()).value == 150.0
            assert (await driver.ac_current_a()).value == pytest.approx(80.12)
            assert (await driver.ac_voltage_v()).value == pytest.approx(287.1)
            assert (await driver.frequency_hz()).value == pytest.approx(50.01)
            assert (await driver.dc_voltage_v()).value == pytest.approx(712.5)
            assert (await driver.dc_power_w()).value == -23_100.0
            assert (await driver.state()).value is OperatingState.THROTTLED
            assert (await driver.is_grid_forming()).value is False
            assert (await driver.is_on()).value is True  # 701.St is not there: InvSt says it
            assert (await driver.alarms()).value == {"over_temp", "ac_under_volt"}
            assert (await driver.power_setpoint_w()).value == pytest.approx(-0.4 * 45_000.0)
            # The end of the map has no length register.
            del unit.registers[-1]
            await driver.open()
            # Charge has a rating of its own: 30 kW, discharge none but WMaxRtg's 50 kW.
            await driver.set_power_w(50_000.0)
            assert (await driver.power_setpoint_w()).value == 50_000.0
            with pytest.raises(DeviceRefused, match="-30000 to 50000 W"):
                await driver.set_power_w(-30_100.0)

    run_virtual(main)


def test_pysunspec2_scans_the_emulator_without_a_complaint():
    """Another implementation's client finds every model whole, and the values that the plant has."""

    def scan(port):
        client = SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=port, timeout=5.0)
        try:
            client.scan()
        finally:
            client.close()
        return client

    async def main():
        plant = RigPlant(SPEC)
        emulator = Emulator("inverter", plant, Options(serial="SN-42"))
        server = ModbusTcpServer("modbus", {1: emulator})
        await server.start()
        try:
            return await asyncio.wait_for(asyncio.to_thread(scan, server.port), 20.0), plant
        finally:
            await server.stop()

    device, plant = run_wall(main)
    assert [model.model_id for model in device.model_list] == list(points.MODELS)
    assert [model.error_info for model in device.model_list] == [""] * len(points.MODELS)
    assert not getattr(device, "error_info", "")
    models = {model.model_id: model for model in device.model_list}

    def value(number, name):
        return models[number].points[name].cvalue

    assert value(1, "SN") == "SN-42"
    assert value(120, "WRtg") == 10_000
    assert value(701, "LNV") == pytest.approx(200.0 / math.sqrt(3.0), rel=1e-3)
    assert value(701, "LLV") == pytest.approx(200.0, rel=1e-3)
    assert value(701, "Hz") == pytest.approx(60.0)
    assert value(701, "W") == 0
    assert value(702, "WChaRteMaxRtg") == 10_000
    assert value(713, "SoC") == pytest.approx(50.0)
    assert value(713, "WHAvail") == pytest.approx(0.5 * value(713, "WHRtg"), abs=1)
    assert value(802, "V") == pytest.approx(plant.bms.voltage_v, abs=0.05)
    assert value(802, "Typ") == 4
    assert value(124, "ChaState") == pytest.approx(50.0)
    assert value(704, "WMaxLimPct") == 100.0
    for number, model in models.items():
        for name, point in model.points.items():
            # An accumulator at zero reads as None there: it has not counted yet.
            if points.model(number).points[name].is_mandatory and name != "WH":
                assert point.value is not None, f"mandatory point {number}.{name} is not implemented"


def test_pysunspec2_writes_what_the_emulator_does():
    """Its writes, one register and several, reach the converter."""

    def command(port):
        client = SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=port, timeout=5.0)
        try:
            client.scan()
            controls = next(model for model in client.model_list if model.model_id == 704)
            controls.points["WSetMod"].value = 1
            controls.points["WSet"].cvalue = -1234
            controls.write()
            immediate = next(model for model in client.model_list if model.model_id == 123)
            immediate.points["Conn"].value = 1
            immediate.write()
        finally:
            client.close()

    async def main():
        plant = RigPlant(SPEC)
        server = ModbusTcpServer("modbus", {1: Emulator("inverter", plant, Options())})
        await server.start()
        try:
            await asyncio.wait_for(asyncio.to_thread(command, server.port), 20.0)
        finally:
            await server.stop()
        return plant

    plant = run_wall(main)
    assert plant.converter.power_setpoint_w == -1234.0
    assert plant.converter.is_on
