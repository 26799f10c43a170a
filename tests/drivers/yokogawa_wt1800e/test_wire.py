"""The wire against bytes from elsewhere: a WT500's session, Yokogawa's samples, other people's drivers."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest
import pyvisa
from hypothesis import given
from hypothesis import strategies as st

from drivers.yokogawa_wt1800e import Driver, Emulator, Options, codec, points
from harness.clock import run_virtual, run_wall
from harness.errors import CodecError, DeviceFault
from harness.readings import Voice
from harness.wires.scpi_talk import decode_error, decode_identity, decode_number
from harness.wires.visa import InstrumentServer

TRANSCRIPT = (Path(__file__).parent / "wt500_transcript.txt").read_text().splitlines()
SENT = [line[2:] for line in TRANSCRIPT if line.startswith("> ")]
CAME = [line[2:] for line in TRANSCRIPT if line.startswith("< ")]


class TapeLine:
    """Answers by a table of strings, and keeps what was written."""

    name = "tape"

    def __init__(self, answers):
        self.answers = answers
        self.written = []

    async def write(self, message):
        self.written.append(message)

    async def query(self, message):
        answer = self.answers[message.upper()]
        return answer.pop(0) if isinstance(answer, list) else answer

    async def query_block(self, message):
        raise AssertionError(message)


def test_the_values_of_a_wt500s_session_are_read():
    values = codec.decode_values(CAME[1], 10)
    assert values[:6] == [198.36, 0.409, 81.13, -0.61, 81.13, 1.0]
    assert math.isnan(values[6])
    assert math.isnan(values[7])
    assert values[8:] == [0.0, 0.0]


def test_scpis_numbers_for_no_number_are_no_power():
    """SCPI-1999, volume 1, 7.2.1: a meter that sends them must not make a product fail by 1e37 W."""
    values = codec.decode_values("9.91E+37,9.9E+37,-9.9E+37,NAN,INF,1.0E+36", 6)
    assert math.isnan(values[0])
    assert values[1:3] == [math.inf, -math.inf]
    assert math.isnan(values[3])
    assert values[4:] == [math.inf, 1e36]
    assert math.isnan(decode_number("9.91E37"))


def test_what_is_written_looks_like_a_wt500s():
    for text in ("198.36E+00", "1.0000E+00"):
        assert codec.encode_value(float(text), points.DIGITS) == text
    assert codec.encode_value(0.409, points.DIGITS) == "409.00E-03"
    assert codec.encode_value(0.5, 4) == "500.0E-03"  # IM 760301-17E, the example of RATE
    assert codec.encode_value(-0.0006, 5) == "-600.00E-06"
    assert codec.encode_value(999999.7, 5) == "1.0000E+06"
    assert codec.encode_value(0.0, 5) == "0.0000E+00"
    assert codec.encode_value(math.nan, 5) == "NAN"
    assert codec.encode_value(math.inf, 5) == "INF"


def test_errors_as_the_instruments_say_them():
    assert decode_error('0,"NO ERROR"') == (0, "NO ERROR")  # yoko-tool
    assert decode_error('113,"Undefined header"') == (113, "Undefined header")
    assert decode_error("844") == (844, "")  # with :STATus:QMESsage OFF


def test_the_identity_of_yokogawas_sample_program():
    identity = decode_identity("YOKOGAWA,WT1806E-5A3-50A3,1234567890,F1.01")
    assert (identity.model, identity.serial, identity.firmware) == ("WT1806E-5A3-50A3", "1234567890", "F1.01")


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_numbers_come_back_within_half_a_digit(value):
    back = decode_number(codec.encode_value(value, 6))
    assert back == pytest.approx(value, rel=5.1e-6, abs=1e-290)


@given(st.lists(st.tuples(st.floats(width=64), st.sampled_from([5, 6])), min_size=1, max_size=5))
def test_values_written_together_are_those_written_alone(items):
    values, digits = zip(*items, strict=True)
    together = codec.encode_values(values, digits).split(",")
    for value, count, text in zip(values, digits, together, strict=True):
        alone = codec.encode_value(value, count)
        # A value midway between two steps may be rounded either way.
        assert text == alone or (
            len(text.partition("E")[0].strip("-")) == count + 1
            and float(text) == pytest.approx(value, rel=0.5001 * 10.0 ** (1 - count))
        )


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (99.99949, 5, "99.999E+00"),
        (99.99951, 5, "100.00E+00"),
        (-999.9996, 6, "-1.00000E+03"),
        (0.0009999, 5, "999.90E-06"),
        (-0.0, 5, "-0.0000E+00"),
    ],
)
def test_the_point_moves_where_rounding_makes_another_digit(value, digits, text):
    assert codec.encode_values((value,), (digits,)) == codec.encode_value(value, digits) == text


@given(st.text(max_size=40), st.integers(0, 5))
def test_no_answer_makes_a_decoder_raise_anything_but_a_codec_error(text, count):
    for decode in (
        lambda text: codec.decode_values(text, count),
        decode_number,
        decode_error,
        codec.decode_events,
        decode_identity,
    ):
        try:
            decode(text)
        except CodecError:
            pass


def options_of(nodes, **changes):
    return Options.model_validate({"nodes": nodes, **changes})


def tape_answers(**changes):
    return {
        "*IDN?": "YOKOGAWA,WT1806E-5A3-50A3,1234567890,F1.01",
        ":STATUS:ERROR?": '0,"NO ERROR"',
        ":INTEGRATE:STATE?": "RESET",
        **changes,
    }


def test_the_driver_sends_what_public_programs_send(nodes):
    """The commands that Yokogawa's sample and the WT500 session use, in long form."""

    async def main():
        line = TapeLine(tape_answers())
        await Driver("wt", line, options_of(nodes), Voice("wt")).open()
        return [message.upper() for message in line.written]

    written = run_virtual(main)
    assert ":INPUT:WIRING P3W4,P1W2,P1W2,P1W2" in written
    assert ":NUMERIC:FORMAT ASCII" in written
    assert ":NUMERIC:NORMAL:ITEM1 URMS,SIGMA" in written
    assert ":STATUS:FILTER1 FALL" in written
    assert ":INPUT:VOLTAGE:RANGE:ELEMENT1 150V" in written
    assert ":RATE 1000MS" in written
    assert not any("SYST" in message for message in written)


def test_the_driver_reads_a_session_with_signs_as_wired(nodes):
    """The WT500 session's values, with P as these clamps have it: negative for power out of the battery."""
    only = {"pcs_ac": nodes["pcs_ac"]}
    answers = tape_answers(
        **{
            ":STATUS:EESR?": ["1", "0", "1"],
            ":NUMERIC:NORMAL:VALUE?": "198.36E+00,409.00E-03,-81.13E+00,-0.61E+00,50.003E+00" + ",NAN" * 5,
        }
    )

    async def main():
        line = TapeLine(answers)
        driver = Driver("wt", line, options_of(only), Voice("wt"))
        await driver.open()
        values = await driver.values("pcs_ac")
        with pytest.raises(DeviceFault, match="TIME,SIGMA at pcs_ac: no value"):
            await driver.energy("pcs_ac")
        return values

    values = run_virtual(main)
    assert values.power_w.value == 81.13
    assert values.reactive_power_var.value == 0.61
    assert (values.voltage_v.value, values.current_a.value) == (198.36, 0.409)
    assert values.frequency_hz.value == 50.003


@pytest.mark.parametrize(
    ("query", "answer", "says"),
    [
        (
            ":WAVEFORM:LENGTH?",
            "NAN",
            r"wt: :WAVeform:LENGth\? was answered 'NAN': a finite number is expected",
        ),
        (":WAVEFORM:LENGTH?", "1", r"wt: :WAVeform:LENGth\? was answered 1, .* two points or more, "),
        (":WAVEFORM:SRATE?", "0.0E+00", r"wt: .*:WAVeform:SRATe\? 0: .* a rate above 0, are expected"),
        (":WAVEFORM:SEND?", "1,2,3", r"wt: :WAVeform:SEND\?: 4 values were asked for and 3 came: '1,2,3'"),
        (
            ":STATUS:ERROR?",
            '113,"Undefined header"',
            r"wt: :STATus:ERRor\? finds no end: 113 Undefined header",
        ),
        (":STATUS:ERROR?", "no error", r"wt: :STATus:ERRor\?: 'no error' is no entry of an error queue"),
    ],
)
def test_a_damaged_answer_on_the_way_to_a_screen_is_told_with_its_query(nodes, query, answer, says):
    sound = {":WAVEFORM:LENGTH?": "4", ":WAVEFORM:SRATE?": "2.0E+03", ":WAVEFORM:SEND?": "1,2,3,4"}

    async def screen(**changes):
        line = TapeLine(tape_answers(**sound | changes))
        return await Driver("wt", line, options_of(nodes), Voice("wt")).envelope("pcs_ac", "u")

    assert run_virtual(screen).highest.tolist() == [2.0, 4.0]
    with pytest.raises(CodecError, match=says):
        run_virtual(lambda: screen(**{query: answer}))


def test_another_instrument_is_found_out(nodes):
    async def main():
        line = TapeLine(tape_answers(**{"*IDN?": "HIOKI,PW6001,1,2"}))
        with pytest.raises(DeviceFault, match="HIOKI PW6001 answers"):
            await Driver("wt", line, options_of(nodes), Voice("wt")).open()

    run_virtual(main)


def test_the_emulator_takes_the_wt500_session(plant, nodes):
    """Every command of the session is understood, and the answers have its form."""

    async def main():
        emulator = Emulator("wt", plant, options_of(nodes))
        await emulator.start()
        await emulator.answer(b":COMMUNICATE:HEADER OFF")
        came = []
        for command in SENT:
            if command.endswith("EESR?"):
                await asyncio.sleep(0.5)
            answer = await emulator.answer(command.replace("WQ,1", "WHM,1").encode())
            if answer is not None:
                came.append(answer.decode())
        assert await emulator.answer(b":STATUS:ERROR?") == b'0,"NO ERROR"'
        return came

    came = run_virtual(main)
    assert [came[0], came[2], came[3]] == ["1", "1", "1"]
    assert len(came[1].split(",")) == 10
    assert came[1].split(",")[6] == "NAN"
    # 0.05 % of reading and of the 1,000 V range that it wakes up with.
    assert abs(float(came[1].split(",")[0]) - 115.47) < 0.56


def test_one_item_is_read_by_its_number_whether_or_not_it_is_sent_with_others(plant, nodes):
    """As programs for the WT1800 do: an item is set, and asked for by its number; NUMBER is left alone."""

    async def main():
        emulator = Emulator("wt", plant, options_of(nodes))
        await emulator.start()
        await emulator.answer(b":COMMUNICATE:HEADER OFF")
        fresh = await emulator.answer(b":NUMERIC:NORMAL:VALUE?")
        await emulator.answer(b":NUMERIC:NORMAL:ITEM1 URMS,1;ITEM2 IRMS,1;ITEM7 FU,1")
        await asyncio.sleep(0.5)
        asked = (b"VALUE? 1", b"VALUE? 7", b"VALUE? 200", b"VALUE?", b"NUMBER?")
        answers = [await emulator.answer(b":NUMERIC:NORMAL:" + each) for each in asked]
        assert await emulator.answer(b":STATUS:ERROR?") == b'0,"NO ERROR"'
        return fresh, *answers

    fresh, voltage, frequency, nothing, first, count = run_virtual(main)
    assert (fresh, nothing, count) == (b"NAN", b"NAN", b"1")
    assert voltage == first
    assert abs(float(voltage) - 115.47) < 0.56
    assert abs(float(frequency) - 60.0) < 0.1


def test_the_emulator_answers_errors_with_yokogawas_codes(plant, nodes):
    async def main():
        emulator = Emulator("wt", plant, options_of(nodes))
        await emulator.start()
        asked = (
            b":SYSTem:ERRor?",  # not this maker's
            b":MEASure:NORMal:VALue?",  # invented by a document that circulates
            b":INTEGrate:STOP",
            b":INTEGrate:STARt;:INTEGrate:STARt",
            b":INTEGrate:RESet",
            b":RATE 100MS",
        )
        codes = []
        for message in asked:
            assert await emulator.answer(message) is None
            codes.append((await emulator.answer(b":STAT:ERR?")).decode().split(",")[0])
        return codes

    assert run_virtual(main) == ["113", "113", "844", "842", "845", "813"]


def test_a_script_from_the_manual_reads_the_emulator_over_a_socket(plant, nodes):
    """PyVISA alone, in its own thread and on the wall clock: nothing of our driver or line has a part."""

    def script(port):
        wt = pyvisa.ResourceManager("@py").open_resource(
            f"TCPIP0::127.0.0.1::{port}::SOCKET",
            read_termination="\n",
            write_termination="\n",
            timeout=3000,
        )
        try:
            identity = wt.query("*IDN?")
            with_header = wt.query(":RATE?")
            for command in (
                ":COMMUNICATE:HEADER OFF",
                ":INPUT:WIRING P3W4,P1W2,P1W2,P1W2",
                ":INPUT:VOLTAGE:RANGE:ELEMENT5 150V",
                ":INPUT:CURRENT:RANGE:ELEMENT5 20A",
                ":RATE 50MS",
                ":NUMERIC:FORMAT ASCII",
                ":NUMERIC:NORMAL:NUMBER 3",
                ":NUMERIC:NORMAL:ITEM1 URMS,5;ITEM2 P,5;ITEM3 FU,5",
                ":STATUS:FILTER1 FALL",
            ):
                wt.write(command)
            wt.query(":STATUS:EESR?")
            wt.write(":COMMUNICATE:WAIT 1")
            text = wt.query_ascii_values(":NUMERIC:NORMAL:VALUE?")
            wt.write(":NUMERIC:FORMAT FLOAT")
            block = wt.query_binary_values(":NUMERIC:NORMAL:VALUE?", datatype="f", is_big_endian=True)
            one = wt.query_binary_values(":NUM:VAL? 3", datatype="f", is_big_endian=True)
            return identity, with_header, text, block, one, wt.query(":STATUS:ERROR?")
        finally:
            wt.close()

    async def main():
        emulator = Emulator("wt", plant, options_of(nodes))
        await emulator.start()
        server = InstrumentServer("visa", emulator)
        await server.start()
        try:
            async with asyncio.timeout(20.0):
                return await asyncio.to_thread(script, server.port)
        finally:
            await server.stop()
            await emulator.stop()

    identity, with_header, text, block, one, error = run_wall(main)
    assert identity.split(",")[0] == "YOKOGAWA"
    assert len(identity.split(",")) == 4
    assert with_header == ":RATE 500.0E-03"
    # The plant: 115.47 V behind the source's impedance, 2 kW on three phases, 60 Hz.
    for values in (text, block):
        assert values[0] == pytest.approx(115.4, abs=0.2)
        assert values[1] == pytest.approx(2000.0 / 3.0, rel=0.01)
        assert values[2] == pytest.approx(60.0, abs=0.05)
    assert one == pytest.approx(block[2:], rel=1e-3)
    assert error == '0,"NO ERROR"'
