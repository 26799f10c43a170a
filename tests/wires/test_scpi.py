"""Program messages as manuals and public programs write them, and what IEEE 488.2 says of each."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.clock import run_virtual
from harness.errors import CodecError
from harness.wires import scpi
from harness.wires.scpi import (
    Call,
    CommonCommands,
    ErrorQueue,
    ScpiError,
    ScpiInterpreter,
    block_span,
    boolean,
    choice,
    encode_block,
    number,
    string,
)


class Instrument:
    """Keeps what it was called with."""

    def __init__(self, **settings):
        self.calls = []
        self.errors = ErrorQueue(capacity=3)
        self.resets = 0
        common = CommonCommands(lambda: "MAKER,MODEL,1,2", self.errors, self.reset)
        self.interpreter = ScpiInterpreter(
            {
                **common.commands,
                ":NUMeric[:NORMal]:ITEM<x>": self.keep("item"),
                ":NUMeric[:NORMal]:NUMber": self.keep("number"),
                ":NUMeric[:NORMal]:PRESet": self.keep("preset"),
                ":NUMeric[:NORMal]:VALue?": lambda _: "1,2",
                ":NUMeric:FORMat": self.keep("format"),
                "[:SOURce]:VOLTage[:LEVel][:IMMediate][:AMPLitude]": self.keep("voltage"),
                "[:SOURce]:VOLTage[:LEVel][:IMMediate][:AMPLitude]?": lambda _: "230",
                "[:SOURce]:FREQuency": self.keep("frequency"),
                ":SLOW?": self.slow,
                ":DATA": self.keep("data"),
                ":DATA?": lambda _: encode_block(b"a;b,\n"),
                ":REFUSE": self.refuse,
                ":SYSTem:ERRor[:NEXT]?": lambda _: str(self.errors.pop()),
                ":HARMonics<x>:ORDer<x>": self.keep("order"),
            },
            self.errors,
            **settings,
        )

    def reset(self):
        self.resets += 1

    def keep(self, name):
        return lambda call: self.calls.append((name, call))

    async def slow(self, _):
        await asyncio.sleep(2.5)
        return "late"

    def refuse(self, _):
        raise scpi.SETTINGS_CONFLICT

    def answer(self, *messages):
        async def main():
            return [await self.interpreter.answer(message) for message in messages]

        return run_virtual(main)

    def errors_now(self):
        return [str(self.errors.pop()) for _ in range(len(self.errors))]


@pytest.mark.parametrize(
    "header", ["VOLT", "volt", ":Voltage", ":SOUR:VOLT", "source:voltage:level:imm:ampl", ":VOLT:AMPLITUDE"]
)
def test_long_and_short_forms_in_any_case_and_with_or_without_optional_nodes(header):
    instrument = Instrument()
    instrument.answer(f"{header} 5".encode())
    assert instrument.calls == [("voltage", Call((), ("5",)))]


@pytest.mark.parametrize("header", ["VOLTA", "VOL", ":SOUR:SOUR:VOLT", ":VOLT:AMPL:IMM", "VOLTAGES", "1VOLT"])
def test_other_forms_are_undefined(header):
    instrument = Instrument()
    assert instrument.answer(f"{header} 5".encode()) == [None]
    assert instrument.calls == []
    assert instrument.errors_now() == ['-113,"Undefined header"']


def test_yokogawas_rule_takes_any_abbreviation_between_short_and_long():
    # IM 760101-11E 4-4: CURSor may be written CURSO.
    instrument = Instrument(abbreviates_freely=True)
    instrument.answer(b":NUMERI:ITEM 1", b":NU:ITEM 1")
    assert [name for name, _ in instrument.calls] == ["item"]
    assert len(instrument.errors) == 1


def test_a_compound_of_a_public_program_for_the_wt3000_walks_the_path():
    # The second unit starts in :NUMeric, the third in :NUMeric:NORMal.
    instrument = Instrument()
    instrument.answer(b":NUMERIC:FORMAT ASCII;NORMAL:PRESET 2;NUMBER 255")
    assert instrument.calls == [
        ("format", Call((), ("ASCII",))),
        ("preset", Call((), ("2",))),
        ("number", Call((), ("255",))),
    ]


def test_the_item_list_of_a_public_wt500_program_gives_its_suffixes():
    instrument = Instrument()
    instrument.answer(b":NUMERIC:NORMAL:ITEM1 URMS,1;ITEM2 IRMS,1;ITEM10 IRMS,2")
    assert instrument.calls == [
        ("item", Call((1,), ("URMS", "1"))),
        ("item", Call((2,), ("IRMS", "1"))),
        ("item", Call((10,), ("IRMS", "2"))),
    ]


def test_a_suffix_that_is_left_out_is_one():
    instrument = Instrument()
    instrument.answer(b":HARM:ORD3 1,2", b":HARMONICS2:ORDER 7")
    assert [call.suffixes for _, call in instrument.calls] == [(1, 3), (2, 1)]


def test_a_leading_colon_starts_at_the_root_and_a_common_command_leaves_the_path_alone():
    instrument = Instrument()
    answers = instrument.answer(b":NUM:NORM:NUM 3;*IDN?;ITEM1 U;:VOLT 2;:NUM:VAL?")
    assert answers == [b"MAKER,MODEL,1,2;1,2"]
    assert [name for name, _ in instrument.calls] == ["number", "item", "voltage"]


def test_without_the_colon_the_path_goes_on_and_the_header_is_undefined():
    instrument = Instrument()
    instrument.answer(b":NUM:NORM:NUM 3;VOLT 2;*RST")
    assert [name for name, _ in instrument.calls] == ["number"]
    assert instrument.errors_now() == ['-113,"Undefined header"']
    assert instrument.resets == 0


def test_what_came_before_an_undefined_header_is_done_each_time():
    instrument = Instrument()
    instrument.answer(b"VOLT 1;NONSENSE", b"VOLT 1;NONSENSE")
    assert len(instrument.calls) == 2
    assert len(instrument.errors) == 2


def test_a_handlers_error_goes_to_the_queue_and_the_rest_is_done():
    instrument = Instrument()
    assert instrument.answer(b"REFUSE;VOLT 3;VOLT?") == [b"230"]
    assert instrument.calls == [("voltage", Call((), ("3",)))]
    assert instrument.errors_now() == ['-221,"Settings conflict"']


def test_blocks_and_strings_may_hold_separators():
    instrument = Instrument()
    instrument.answer(b"DATA 'a;b,c',#15;,\n# ;VOLT 1")
    (_, data), (_, voltage) = instrument.calls
    assert string(data.arguments[0]) == "a;b,c"
    assert payload_of(data.arguments[1].encode("latin-1")) == b";,\n# "
    assert voltage == Call((), ("1",))


@pytest.mark.parametrize("message", [b"DATA 'a;b", b"DATA #15ab", b"DATA #1x"])
def test_what_does_not_end_is_a_syntax_error(message):
    instrument = Instrument()
    instrument.answer(message)
    assert instrument.errors_now() == ['-102,"Syntax error"']


def test_a_block_is_answered_as_bytes():
    assert Instrument().answer(b"DATA?") == [b"#15a;b,\n"]


def test_an_answer_may_take_rig_time():
    instrument = Instrument()

    async def main():
        answer = await instrument.interpreter.answer(b"SLOW?;VOLT?")
        return answer, asyncio.get_running_loop().time()

    assert run_virtual(main) == (b"late;230", 2.5)


def test_common_commands_keep_the_registers_of_488_2():
    instrument = Instrument()
    assert instrument.answer(
        b"*ESE 32;*SRE 32",
        b"NONSENSE",
        b"*STB?",
        b"*ESR?",
        b"*ESR?",
        b"*STB?",
        b"*CLS",
        b"*STB?",
        b"*OPC;*ESR?",
    ) == [None, None, b"100", b"32", b"0", b"4", None, b"0", b"1"]
    assert instrument.answer(b"*ESE?;*SRE?;*OPC?;*TST?;*WAI") == [b"32;32;1;0"]
    instrument.answer(b"*RST")
    assert instrument.resets == 1


def test_the_error_queue_is_oldest_first_and_says_that_it_overflowed():
    instrument = Instrument()
    instrument.answer(b"REFUSE", b"NONSENSE", b"REFUSE", b"REFUSE")
    assert instrument.answer(*[b"SYST:ERR?"] * 4) == [
        b'-221,"Settings conflict"',
        b'-113,"Undefined header"',
        b'-350,"Queue overflow"',
        b'0,"No error"',
    ]


@pytest.mark.parametrize(
    ("argument", "settings", "expected"),
    [
        ("5", {}, 5.0),
        ("-.5E+3", {}, -500.0),
        ("500MS", {"unit": "S"}, 0.5),
        ("1 KV", {"unit": "V"}, 1000.0),
        ("2mhz", {"unit": "HZ"}, 2e6),
        ("3MAV", {"unit": "V"}, 3e6),
        ("MAX", {"maximum": 7.0}, 7.0),
        ("minimum", {"minimum": -1.0}, -1.0),
        ("DEF", {"default": 3.0}, 3.0),
    ],
)
def test_numbers(argument, settings, expected):
    assert number(argument, **settings) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("argument", "settings", "code"),
    [
        ("five", {}, -104),
        ("", {}, -104),
        ("5V", {}, -131),
        ("5A", {"unit": "V"}, -131),
        ("5QV", {"unit": "V"}, -131),
        ("MAX", {}, -224),
        ("8", {"maximum": 7.0}, -222),
        ("-8", {"minimum": -7.0}, -222),
        ("nan", {}, -104),
    ],
)
def test_numbers_that_are_refused(argument, settings, code):
    with pytest.raises(ScpiError) as refused:
        number(argument, **settings)
    assert refused.value.code == code


def test_words_and_booleans():
    assert choice("flo", "ASCii", "FLOat") == "FLOat"
    assert choice("ASCII", "ASCii", "FLOat") == "ASCii"
    with pytest.raises(ScpiError):
        choice("FL", "ASCii", "FLOat")
    assert [boolean(text) for text in ("ON", "off", "1", "0", "2")] == [True, False, True, False, True]
    with pytest.raises(ScpiError):
        boolean("maybe")
    assert string('"say ""so"""') == 'say "so"'
    with pytest.raises(ScpiError):
        string("plain")


def test_an_argument_count_is_checked():
    with pytest.raises(ScpiError, match="-109"):
        Call().only()
    with pytest.raises(ScpiError, match="-108"):
        Call((), ("1", "2")).only()


def payload_of(block):
    start, end = block_span(block)
    return block[start:end]


def test_blocks_of_the_standard():
    # IEEE 488.2 8.7.9: #<digits><length><bytes>; 8.7.10: #0 ends with the message, and is no definite one.
    assert payload_of(b"#15abcde") == b"abcde"
    assert payload_of(b"#3005abcde\n") == b"abcde"
    assert block_span(b"#300") is None
    assert encode_block(b"ab", digits=4) == b"#40002ab"
    with pytest.raises(CodecError, match="expected a block"):
        block_span(b"#0abc\n")


@given(st.binary(max_size=300), st.one_of(st.none(), st.integers(3, 9)))
def test_block_encode_and_decode_are_inverse(payload, digits):
    assert payload_of(encode_block(payload, digits=digits)) == payload


@given(st.one_of(st.binary(max_size=40), st.binary(max_size=20).map(lambda tail: b"#" + tail)))
def test_no_bytes_make_its_reader_raise_anything_but_a_codec_error(data):
    try:
        block_span(data)
    except CodecError:
        pass


@given(st.binary(max_size=60))
def test_no_message_makes_the_interpreter_raise(message):
    instrument = Instrument()
    coroutine = instrument.interpreter.answer(message)
    with pytest.raises(StopIteration):  # nothing in such a message waits
        coroutine.send(None)


def test_a_pattern_that_cannot_be_read_is_a_mistake_of_the_emulator():
    with pytest.raises(ValueError, match="pattern"):
        ScpiInterpreter({":VOLT[:LEV:": lambda _: None}, ErrorQueue())
