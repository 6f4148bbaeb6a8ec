"""Any folder with one folder a speaker: ``<speaker>/<anything>.<audio>``, however deep."""

import logging
from pathlib import Path

import pyarrow as pa

from hive_mtl.audio import find_recordings
from hive_mtl.learn.corpora._names import corpus_name
from hive_mtl.learn.corpora._paths import text_of
from hive_mtl.learn.utterances import conform

_log = logging.getLogger(__name__)


def matches(path: Path) -> bool:
    """Any folder."""
    return path.is_dir()


def root(path: Path) -> Path:
    """The folder."""
    return path.resolve()


def read(path: Path) -> pa.Table:
    """Every recording below ``path``; the speaker is its topmost folder, the corpus ``path``.

    Raises:
        DataError: a name is not UTF-8.
    """
    top = root(path)
    recordings = find_recordings(top)
    spoken = [recording for recording in recordings if recording.parent != top]
    if len(spoken) < len(recordings):
        _log.warning(
            "%s: %d recordings left out that lie in no speaker's folder",
            path,
            len(recordings) - len(spoken),
        )
    speakers = [recording.relative_to(top).parts[0] for recording in spoken]
    table = pa.table(
        {
            "path": pa.array(map(text_of, spoken), pa.string()),
            "speaker": pa.array(speakers, pa.string()),
        }
    )
    return conform(table, corpus=corpus_name(top), origin=str(path))
