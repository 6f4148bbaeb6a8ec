"""Where the relative paths of a manifest start from."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc


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
