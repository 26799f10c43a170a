"""Series of readings and captured waveforms as Parquet: equal contents give equal bytes.

``<plan>.parquet`` is long: ``source``, ``at_s``, ``value`` (a number, or null) and ``text`` (states and
sets, spelled as JSON, or null). ``<plan>_<capture>.parquet`` has one column of samples a channel; start,
rate and uncertainties stand in the file's own key-value part under ``rackproof``. The bytes also depend
on the version of pyarrow, which the logbook has.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import BenchError
from harness.readings import Waveform
from harness.record.canonical import canonical, digest, plain, spell

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Byte planes of neighbouring samples are alike, which zstd 1 takes a quarter of the size from at
# 0.15 s for 8.6 million samples; without them the same file took longer to write and was larger.
_SAMPLES: Mapping[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": False,
    "use_byte_stream_split": True,
    "write_statistics": False,
}
_SERIES: Mapping[str, Any] = {"compression": "zstd", "compression_level": 3, "write_statistics": False}


@dataclass(frozen=True, slots=True)
class Series:
    """Readings of one source in the order in which they came.

    Attributes:
        at_s: rig times, shape (n,).
        values: shape (n,); NaN where a reading was no number.
        texts: the readings that were no numbers, spelled as JSON; None for numbers. Empty where all were.
    """

    at_s: NDArray[np.float64]
    values: NDArray[np.float64]
    texts: tuple[str | None, ...] = ()


Points = Mapping[str, Sequence[tuple[float, Any]]]
"""Rig time and value by source, as a journal gives them."""


def number_of(value: object) -> float | None:
    """Give numbers and booleans as floats; None for states and sets."""
    return float(value) if isinstance(value, bool | int | float) else None


def write_readings(path: Path, points: Points) -> None:
    """Write the readings of one plan, sources in order of name.

    Raises:
        BenchError: the file could not be written.
    """
    import numpy as np  # noqa: PLC0415 - with pyarrow
    import pyarrow as pa  # noqa: PLC0415 - 0.1 s to import, and only needed when something is written

    names = sorted(points)
    at_s = np.array([at_s for name in names for at_s, _ in points[name]], np.float64)
    values = [value for name in names for _, value in points[name]]
    # Most readings are numbers; what is none is spelled.
    odd = [index for index, value in enumerate(values) if type(value) is not float]
    texts: dict[int, str] = {}
    for index in odd:
        number = number_of(values[index])
        if number is None:
            texts[index] = spell(plain(values[index]))
        values[index] = number or 0.0
    indices = np.repeat(np.arange(len(names), dtype=np.int32), [len(points[name]) for name in names])
    table = pa.table(
        {
            "source": pa.DictionaryArray.from_arrays(
                _column(indices), _texts(dict(enumerate(names)), len(names))
            ),
            "at_s": _column(at_s),
            "value": _column(np.array(values, np.float64), texts),
            "text": _texts(texts, len(values)),
        }
    )
    _write(path, table, _SERIES)


def read_readings(path: Path) -> dict[str, Series]:
    """Read the readings of one plan, by source."""
    import numpy as np  # noqa: PLC0415 - with pyarrow
    import pyarrow.parquet as pq  # noqa: PLC0415 - see write_readings

    table = pq.ParquetFile(path).read()
    if not len(table):
        return {}
    table = table.unify_dictionaries().combine_chunks()
    names = table["source"].chunk(0)
    at_s = _samples(table["at_s"].chunk(0))
    values = _samples(table["value"].chunk(0))
    texts = table["text"]
    indices = _samples(names.indices)
    edges = np.flatnonzero(np.diff(indices)) + 1
    found: dict[str, Series] = {}
    for first, last in zip([0, *edges.tolist()], [*edges.tolist(), len(indices)], strict=True):
        name = names.dictionary[int(indices[first])].as_py()
        piece = texts.slice(first, last - first)
        spelled = tuple(piece.to_pylist()) if piece.null_count < len(piece) else ()
        found[name] = Series(at_s[first:last], values[first:last], spelled)
    return found


def write_capture(path: Path, channels: Mapping[str, Waveform], trigger_s: float | None = None) -> None:
    """Write the waveforms of one capture, channels in order of name.

    Args:
        path: the file, which is replaced.
        channels: all with the same number of samples.
        trigger_s: rig time of the trigger, where there was one.

    Raises:
        BenchError: the channels differ in length, or the file could not be written.
    """
    import numpy as np  # noqa: PLC0415 - with pyarrow
    import pyarrow as pa  # noqa: PLC0415 - see write_readings

    lengths = {name: len(channels[name].samples) for name in sorted(channels)}
    if len(set(lengths.values())) > 1:
        raise BenchError(f"{path.name}: channels of one capture have equal length; these came with {lengths}")
    about = {
        "trigger_s": trigger_s,
        "channels": {
            name: {
                "start_s": each.start_s,
                "sample_rate_hz": each.sample_rate_hz,
                "gain_u": each.gain_u,
                "offset_u": each.offset_u,
                "trigger_skew_s": each.trigger_skew_s,
            }
            for name, each in channels.items()
        },
    }
    table = pa.table(
        {name: _column(channels[name].samples.astype(np.float64, copy=False)) for name in sorted(channels)}
    )
    _write(path, table.replace_schema_metadata({"rackproof": canonical(about)}), _SAMPLES)


def read_capture(path: Path) -> tuple[dict[str, Waveform], float | None]:
    """Read the waveforms of one capture by channel, and the rig time of its trigger."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - see write_readings

    table = pq.ParquetFile(path).read()
    about = json.loads(table.schema.metadata[b"rackproof"])
    channels = {
        name: Waveform(samples=_samples(table[name].combine_chunks()), channel=name, **each)
        for name, each in about["channels"].items()
    }
    return channels, about["trigger_s"]


def digest_of_capture(channels: Mapping[str, Waveform]) -> dict[str, str]:
    """Hash each waveform: start and rate as little-endian doubles, then the samples as such."""
    import numpy as np  # noqa: PLC0415 - with pyarrow

    return {
        name: digest(
            struct.pack("<dd", each.start_s, each.sample_rate_hz),
            np.ascontiguousarray(each.samples, dtype="<f8").data,
        )
        for name, each in sorted(channels.items())
    }


def digest_of_readings(series: Sequence[tuple[float, Any]]) -> str:
    """Hash one series, out of a journal: canonical JSON of ``[[rig time, value], ...]``."""
    try:
        return digest(spell(series).encode())
    except ValueError:  # a number that is not finite: rare, and slower to spell
        return digest(canonical(series))


# ``pa.array`` and ``to_numpy`` look for pandas and import it where it is installed, which costs 0.25 s a
# process and serves nobody here. So columns are made of buffers, and read as such: the layout is Arrow's
# columnar format 1.5, "Physical memory layout".


def _column(values: NDArray[Any], empty: Collection[int] = ()) -> Any:
    """Make a column of numbers out of an array, with some places left empty."""
    import numpy as np  # noqa: PLC0415 - with pyarrow
    import pyarrow as pa  # noqa: PLC0415 - see write_readings

    present = None
    if empty:
        is_there = np.ones(len(values), bool)
        is_there[list(empty)] = False
        present = pa.py_buffer(np.packbits(is_there, bitorder="little"))
    buffers = [present, pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def _texts(texts: Mapping[int, str], count: int) -> Any:
    """Make a column of ``count`` places out of texts by place, in order; the others are empty."""
    import numpy as np  # noqa: PLC0415 - with pyarrow
    import pyarrow as pa  # noqa: PLC0415 - see write_readings

    places, spelled = list(texts), [text.encode() for text in texts.values()]
    is_there, ends = np.zeros(count, bool), np.zeros(count + 1, np.int32)
    is_there[places] = True
    ends[1:][places] = [len(text) for text in spelled]
    np.cumsum(ends, out=ends)
    present = pa.py_buffer(np.packbits(is_there, bitorder="little"))
    return pa.Array.from_buffers(
        pa.string(), count, [present, pa.py_buffer(ends), pa.py_buffer(b"".join(spelled))]
    )


def _samples(column: Any) -> NDArray[Any]:
    """Give a column of numbers as an array; NaN where a place is empty."""
    import numpy as np  # noqa: PLC0415 - with pyarrow

    dtype = np.dtype(column.type.to_pandas_dtype())  # pyarrow's word for a numpy type
    first, count = column.offset, len(column)
    present, values = column.buffers()
    if not count:
        return np.empty(0, dtype)
    found = np.frombuffer(values, dtype, count=count, offset=first * dtype.itemsize)
    if column.null_count:
        bits = np.unpackbits(np.frombuffer(present, np.uint8), count=first + count, bitorder="little")
        found = np.where(bits[first:].astype(bool), found, np.nan)
    return found


def _write(path: Path, table: Any, options: Mapping[str, Any]) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415 - see write_readings

    try:
        pq.write_table(table, path, **options)
    except OSError as error:
        raise BenchError(f"{path}: the trace could not be written ({error})") from error
