"""Frames against other people's programs, another implementation of the bits, and anything at all."""

import contextlib

import cantools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.isabellenhuette_ivt_s import Driver, Options, codec, points
from drivers.isabellenhuette_ivt_s.codec import DeviceIs, Result
from harness.clock import run_virtual
from harness.errors import CodecError
from harness.readings import Voice
from harness.testing.loopback import can_pair

# What the script that plays this sensor for a precharge unit puts on the bus with cansend: "521#0000" and
# printf's %08X of mA, which for a negative number is its two's complement; "522#0100" and that of mV.
PLAYED = {
    "521#0000000493E0": ("current_a", 300.0),
    "521#0000FFFFFC18": ("current_a", -1.0),
    "521#0000FFFBB5D8": ("current_a", -281.128),
    "522#0100000927C0": ("voltage_v", 600.0),
    "522#01000000CC79": ("voltage_v", 52.345),
}

# The places of the bits, in the notation of cantools, from "IVT-S_12082020.dbc" (0x521 to 0x525, 0x511).
STATE = """
 SG_ count : 11|4@0+ (1,0) [0|0] "" B
 SG_ ocs : 12|1@0+ (1,0) [0|0] "" B
 SG_ channel : 13|1@0+ (1,0) [0|0] "" B
 SG_ measurement : 14|1@0+ (1,0) [0|0] "" B
 SG_ system : 15|1@0+ (1,0) [0|0] "" B
"""
DBC = f"""
VERSION ""
NS_ :
BS_:
BU_: B
BO_ 1313 I: 6 B
 SG_ number : 7|8@0+ (1,0) [0|0] "" B
 SG_ value : 23|32@0- (1,0) [0|0] "mA" B{STATE}
BO_ 1314 U1: 6 B
 SG_ number : 7|8@0+ (1,0) [0|0] "" B
 SG_ value : 23|32@0- (1,0) [0|0] "mV" B{STATE}
BO_ 1317 T: 6 B
 SG_ number : 7|8@0+ (1,0) [0|0] "" B
 SG_ value : 23|32@0- (0.1,0) [0|0] "degC" B{STATE}
BO_ 1297 R: 8 B
 SG_ id M : 7|8@0+ (1,0) [0|0] "" B
 SG_ kind m185 : 15|8@0+ (1,0) [0|0] "" B
 SG_ amperes m185 : 23|12@0+ (1,0) [0|0] "A" B
 SG_ voltages m185 : 27|4@0+ (1,0) [0|0] "" B
 SG_ what m185 : 39|8@0+ (1,0) [0|0] "" B
 SG_ com m185 : 47|8@0+ (1,0) [0|0] "" B
 SG_ supply m185 : 55|8@0+ (1,0) [0|0] "" B
 SG_ major m186 : 15|8@0+ (1,0) [0|0] "" B
 SG_ minor m186 : 23|8@0+ (1,0) [0|0] "" B
 SG_ revision m186 : 31|8@0+ (1,0) [0|0] "" B
 SG_ serial m187 : 15|32@0+ (1,0) [0|0] "" B
"""
OTHER = cantools.database.load_string(DBC, database_format="dbc", strict=True)
CHANNELS = (points.CURRENT, *points.VOLTAGES.values(), points.TEMPERATURE)

raw_values = st.integers(-(2**31), 2**31 - 1)
nibbles = st.integers(0, 15)


@pytest.mark.parametrize(("played", "expected"), PLAYED.items(), ids=PLAYED)
def test_the_driver_reads_what_a_players_script_sends(played, expected):
    identifier, text = played.split("#")
    quantity, value = expected

    async def main():
        async with can_pair() as (near, far):
            driver = Driver("shunt", near, Options(), Voice("shunt"))
            await driver.open()
            far.send(int(identifier, 16), bytes.fromhex(text))
            reading = await getattr(driver, quantity)()
            await driver.close()
            return reading.value

    assert run_virtual(main) == value


@pytest.mark.parametrize(("played", "expected"), PLAYED.items(), ids=PLAYED)
def test_the_codec_writes_what_a_players_script_sends(played, expected):
    identifier, text = played.split("#")
    channel = {0x521: points.CURRENT, 0x522: points.VOLTAGES[1]}[int(identifier, 16)]
    assert codec.encode_result(channel, Result(expected[1], 0)).hex().upper() == text


def test_identifiers_follow_the_first_one():
    """foxBMS 2 and the maker's file: 0x521 current, 0x522 to 0x524 voltages, 0x525 temperature."""
    assert [0x521 + channel.number for channel in CHANNELS] == [0x521, 0x522, 0x523, 0x524, 0x525]
    assert Options().base_id == 0x521


@given(raw_values, nibbles, nibbles, st.sampled_from(["I", "U1", "T"]))
def test_another_implementation_reads_the_same_bits(raw, count, state, name):
    channel = {"I": points.CURRENT, "U1": points.VOLTAGES[1], "T": points.TEMPERATURE}[name]
    data = codec.encode_result(channel, Result(raw / channel.per_unit, count, state))
    found = OTHER.get_message_by_name(name).decode(data, scaling=False)
    assert found == {
        "number": channel.number,
        "value": raw,
        "count": count,
        "ocs": state & 1,
        "channel": state >> 1 & 1,
        "measurement": state >> 2 & 1,
        "system": state >> 3 & 1,
    }


@given(st.sampled_from(points.RANGES_A), st.integers(0, 0xFFFFFFFF), st.tuples(*[st.integers(0, 255)] * 3))
def test_another_implementation_reads_who_it_is(range_a, serial, software):
    response = OTHER.get_message_by_name("R")
    device = response.decode(codec.encode_device(DeviceIs(2, range_a)), decode_choices=False)
    assert device == {
        "id": 0xB9,
        "kind": 2,
        "amperes": range_a,
        "voltages": 3,
        "what": 3,  # "I" in the maker's table
        "com": 2,  # "CAN 2 - not terminated"
        "supply": 1,  # "12 / 24 V nominal supply voltage"
    }
    found = response.decode(codec.encode_software(*software))
    assert (found["major"], found["minor"], found["revision"]) == software
    assert response.decode(codec.encode_serial(serial)) == {"id": 0xBB, "serial": serial}


@given(raw_values, nibbles, nibbles, st.sampled_from(CHANNELS))
def test_results_come_back_as_they_went(raw, count, state, channel):
    result = Result(raw / channel.per_unit, count, state)
    assert codec.decode_result(channel, codec.encode_result(channel, result)) == result


@given(
    st.integers(0, 255),
    st.integers(0, 0xFFF),
    st.integers(0, 0xFFFFFFFF),
    st.tuples(*[st.integers(0, 255)] * 3),
)
def test_responses_come_back_as_they_went(kind, range_a, serial, software):
    assert codec.decode_device(codec.encode_device(DeviceIs(kind, range_a))) == DeviceIs(kind, range_a)
    assert codec.decode_serial(codec.encode_serial(serial)) == serial
    assert codec.decode_software(codec.encode_software(*software)) == ".".join(map(str, software))


@given(st.binary(max_size=9), st.sampled_from(CHANNELS))
def test_no_bytes_raise_anything_but_a_codec_error(data, channel):
    with contextlib.suppress(CodecError):
        codec.decode_result(channel, data)
    for decode in (codec.decode_device, codec.decode_software, codec.decode_serial):
        with contextlib.suppress(CodecError):
            decode(data)


def test_what_does_not_fit_becomes_the_nearest_that_does():
    assert codec.encode_result(points.CURRENT, Result(1e9, 0)).hex() == "00007fffffff"
    assert codec.encode_result(points.CURRENT, Result(-1e9, 0)).hex() == "000080000000"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("01000000CC79", "multiplexer 0x01 came"),
        ("0000000493", "5 bytes came"),
        ("0000000493E000", "7 bytes came"),
        ("", "0 bytes came"),
    ],
)
def test_another_channels_frame_and_another_length_are_damage(data, said):
    with pytest.raises(CodecError, match=said):
        codec.decode_result(points.CURRENT, bytes.fromhex(data))
