"""LibriSpeech, and whatever lies in its layout: ``<subset>/<speaker>/<chapter>/<utterance>.flac``.

Panayotov et al., 'LibriSpeech: an ASR corpus based on public domain audio books', ICASSP 2015.
"""

import logging
from pathlib import Path

import pyarrow as pa

from hive_mtl.audio import find_recordings
from hive_mtl.errors import DataError
from hive_mtl.learn.corpora._names import corpus_name, own_splits
from hive_mtl.learn.corpora._paths import text_of
from hive_mtl.learn.labels import parse_gender
from hive_mtl.learn.utterances import conform

_SPEAKERS = "SPEAKERS.TXT"
_log = logging.getLogger(__name__)


def matches(path: Path) -> bool:
    """A folder with a SPEAKERS.TXT, the folder around it, or a subset inside it."""
    return _find_root(path) is not None


def root(path: Path) -> Path:
    """The folder that holds SPEAKERS.TXT; ``path`` itself where there is none."""
    return _find_root(path) or path.resolve()


def read(path: Path) -> pa.Table:
    """All subsets of the corpus, or the one subset that ``path`` is.

    The session is the chapter. Beside a subset for training, 'test-clean' and its like are of split
    'test'; by itself such a subset has no split. Without SPEAKERS.TXT no gender is known, and the
    folders of the speakers may also lie in ``path`` itself.

    Raises:
        DataError: nothing lies where the layout has it, or a name is not UTF-8.
    """
    top = root(path)
    listed = (top / _SPEAKERS).is_file()
    genders = _genders(top / _SPEAKERS) if listed else {}
    folder = path.resolve() if path.resolve().is_relative_to(top) else top
    recordings = find_recordings(folder)
    parts = [recording.relative_to(top).parts for recording in recordings]
    depth = 4 if listed or any(len(names) == 4 for names in parts) else 3
    rows = [names for names in parts if len(names) == depth]
    if parts and not rows:
        raise DataError(
            f"{path}: no recording lies at <subset>/<speaker>/<chapter>/: give a folder in "
            "LibriSpeech's layout, or another KIND:PATH"
        )
    speakers = [names[-3] for names in rows]
    splits = own_splits(names[0] for names in rows) if depth == 4 else {}
    _warn(folder, len(parts) - len(rows), set(speakers) - genders.keys())
    table = pa.table(
        {
            "path": pa.array((text_of(top.joinpath(*names)) for names in rows), pa.string()),
            "speaker": pa.array(speakers, pa.string()),
            "session": [names[-2] for names in rows],
            "split": pa.array((splits.get(names[0]) for names in rows), pa.string()),
            "gender": [genders.get(speaker) for speaker in speakers],
            "language": ["en"] * len(rows),
            "utterance": [Path(names[-1]).stem for names in rows],
        }
    )
    return conform(table, corpus=corpus_name(top), origin=str(path))


def _find_root(path: Path) -> Path | None:
    path = path.resolve()
    places = (path, path.parent, path / "LibriSpeech")
    return next((place for place in places if (place / _SPEAKERS).is_file()), None)


def _genders(file: Path) -> dict[str, str | None]:
    """Speaker -> gender, from lines such as '14 | F | train-clean-360 | 25.03 | Kristin'."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    cells = [line.split("|") for line in lines if not line.startswith(";") and "|" in line]
    return {speaker.strip(): parse_gender(gender) for speaker, gender, *_ in cells}


def _warn(folder: Path, strays: int, strangers: set[str]) -> None:
    if strays:
        _log.warning(
            "%s: %d recordings left out that are not at <subset>/<speaker>/<chapter>/",
            folder,
            strays,
        )
    if strangers:
        _log.warning(
            "%s: %d speakers are not in %s: their gender stays unknown",
            folder,
            len(strangers),
            _SPEAKERS,
        )
