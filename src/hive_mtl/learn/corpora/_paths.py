"""The paths of recordings: as text, and where the relative ones of a manifest start from."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from hive_mtl import audio
from hive_mtl.errors import DataError


def text_of(path: Path) -> str:
    """The path as a table can hold it.

    Raises:
        DataError: it is not Unicode, which a file system need not care about.
    """
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{audio.describe_source(path)}: its name is not UTF-8: rename it"
        ) from error
    return text


def base_of(folder: Path, paths: pa.ChunkedArray) -> Path:
    """The folder that the relative ones of ``paths`` start from.

    Kaldi's and lhotse's manifests are relative to wherever their recipe ran, mostly a folder above
    the manifest: the first of ``folder``, the folders above it and the current folder in which the
    first relative path exists, else ``folder``.
    """
    folder = folder.resolve()
    first = paths.filter(pc.invert(pc.starts_with(paths, "/"))).slice(0, 1).to_pylist()
    places = (folder, *folder.parents, Path.cwd())
    return next((place for place in places if first and (place / first[0]).exists()), folder)
