"""A Kaldi data folder: wav.scp, utt2spk, and where they are there spk2gender, segments and others.

Format: https://kaldi-asr.org/doc/data_prep.html
"""

import logging
import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from hive_mtl.audio import AUDIO_SUFFIXES
from hive_mtl.errors import DataError
from hive_mtl.learn.corpora._names import corpus_name
from hive_mtl.learn.corpora._paths import base_of
from hive_mtl.learn.labels import parse_gender
from hive_mtl.learn.utterances import conform

_log = logging.getLogger(__name__)

# A pipe of these words only unpacks its one file; any other word may change what is heard.
_DECODERS = frozenset({"flac", "oggdec", "opusdec", "mpg123", "ffmpeg", "sox"})
_HARMLESS = frozenset(
    (
        *("-", "-c", "-d", "-s", "--decode", "--stdout", "--silent", "-q", "quiet"),
        *("-i", "-f", "-t", "wav", "-e", "signed", "signed-integer", "-b", "16", "-c", "1", "-r"),
        *("-acodec", "pcm_s16le", "-ar", "16000", "16k", "-ac", "-nostdin"),
        *("-v", "-loglevel", "8", "error", "panic"),
    )
)


def matches(path: Path) -> bool:
    """A folder with a wav.scp."""
    return (path / "wav.scp").is_file()


def root(path: Path) -> Path:
    """The folder."""
    return path.resolve()


def read(path: Path) -> pa.Table:
    """The utterances of the folder.

    A recording is a file or a pipe that only unpacks one, such as 'flac -c -d -s x.flac |'; what
    comes out of any other pipe is left out, and counted.

    Raises:
        DataError: a file is missing or a line is not as it should be.
    """
    recordings = _mapping(path / "wav.scp")
    recordings = recordings.set_column(1, "value", _files(recordings["value"]))
    rows = _utterances(path, recordings)
    known = rows.filter(pc.is_valid(rows["path"]))
    if len(known) < len(rows):
        _log.warning(
            "%s: %d utterances left out: their recording is missing or made by a pipe",
            path / "wav.scp",
            len(rows) - len(known),
        )
    table = _with_labels(path, known)
    name = corpus_name(root(path))
    return conform(table, base_of(path, table["path"]), corpus=name, origin=str(path))


def _utterances(path: Path, recordings: pa.Table) -> pa.Table:
    if not (path / "segments").is_file():
        return recordings.rename_columns(["utterance", "path"])
    segments = _mapping(path / "segments")
    pattern = r"^(?P<recording>\S+)\s+(?P<start>[\d.]+)\s+(?P<end>-?[\d.]+)"
    parts = pc.extract_regex(segments["value"], pattern)
    _refuse_nulls(path / "segments", parts, "<utterance> <recording> <start> <end>")
    start, end = (pc.struct_field(parts, name).cast(pa.float64()) for name in ("start", "end"))
    # Kaldi writes the end -1 for a segment that goes on to the end of the recording.
    to_the_end = pc.equal(end, -1.0)
    duration = pc.if_else(to_the_end, None, pc.subtract(end, start))
    backwards = pc.index(pc.less_equal(duration, 0.0), True).as_py()
    if backwards >= 0:
        raise DataError(
            f"{path / 'segments'}: line {backwards + 1}: ends at {end[backwards]} s, not after it "
            f"starts ({start[backwards]} s): mend it, or write -1 for the end of the recording"
        )
    return pa.table(
        {
            "utterance": segments["key"],
            "path": _look_up(pc.struct_field(parts, "recording"), recordings),
            "start_s": start,
            "duration_s": duration,
        }
    )


def _with_labels(path: Path, table: pa.Table) -> pa.Table:
    speakers = _look_up(table["utterance"], _mapping(path / "utt2spk"))
    table = table.append_column("speaker", speakers)
    for name, key, column in (
        ("utt2dur", "utterance", "duration_s"),
        ("utt2lang", "utterance", "language"),
        ("spk2age", "speaker", "age"),
        ("spk2gender", "speaker", "gender"),
    ):
        if (path / name).is_file() and column not in table.column_names:
            values = _look_up(table[key], _mapping(path / name))
            table = table.append_column(column, values)
    if "gender" in table.column_names:
        encoded = pc.dictionary_encode(table["gender"]).unify_dictionaries().combine_chunks()
        words = [parse_gender(word) for word in encoded.dictionary.to_pylist()]
        genders = pa.array(words, pa.string()).take(encoded.indices)
        table = table.drop_columns("gender").append_column("gender", genders)
    return table


def _mapping(file: Path) -> pa.Table:
    """The lines '<key> <value>' of a file as two columns, ``key`` and ``value``."""
    if not file.is_file():
        raise DataError(f"{file}: missing: a Kaldi data folder needs it")
    try:
        lines = pa.csv.read_csv(
            file,
            read_options=pa.csv.ReadOptions(column_names=["line"]),
            parse_options=pa.csv.ParseOptions(delimiter="\x1f", quote_char=False),
            convert_options=pa.csv.ConvertOptions(column_types={"line": pa.string()}),
        )["line"]
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{file}: cannot be read ({reason}): correct it") from error
    pairs = pc.extract_regex(lines, r"^\s*(?P<key>\S+)\s+(?P<value>.*\S)\s*$")
    _refuse_nulls(file, pairs, "<key> <value>")
    return pa.table({name: pc.struct_field(pairs, name) for name in ("key", "value")})


def _refuse_nulls(file: Path, parts: pa.ChunkedArray, form: str) -> None:
    wrong = pc.index(pc.is_null(parts), True).as_py()
    if wrong >= 0:
        raise DataError(f"{file}: line {wrong + 1} is not of the form '{form}': correct it")


def _look_up(keys: pa.ChunkedArray, mapping: pa.Table) -> pa.ChunkedArray:
    return mapping["value"].take(pc.index_in(keys, value_set=mapping["key"]))


def _files(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The file of each entry of wav.scp; null where a pipe does more than unpack one."""
    piped = pc.ends_with(values, "|")
    unpacked = pa.array(map(_unpacked, values.filter(piped).to_pylist()), pa.string())
    return pc.replace_with_mask(values.combine_chunks(), piped.combine_chunks(), unpacked)


def _unpacked(pipe: str) -> str | None:
    try:
        program, *words = shlex.split(pipe.removesuffix("|"))
    except ValueError:
        return None
    files = [word for word in words if Path(word).suffix.lower() in AUDIO_SUFFIXES]
    others = set(words) - set(files)
    known = Path(program).name in _DECODERS and others <= _HARMLESS and len(files) == 1
    return files[0] if known else None
