"""What an earlier demonstration left, which the next one replaces; anything else is the user's."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hive_mtl.atomic import atomic_write, reason_of, what_to_do
from hive_mtl.errors import DataError, ModelError
from hive_mtl.faces.demo import synthetic
from hive_mtl.learn import checkpoint as checkpoints

CORPUS, RUN, TABLE = "corpus", "run", "utterances.parquet"  # in the folder of a demonstration
RECIPE = "demo"
_MARK = {b"hive_mtl": b"demonstration"}
_OTHER = "name another folder with -o"


def check_replaceable(out: Path) -> None:
    """Lets pass a folder that is not there, empty, or of an earlier demonstration.

    Raises:
        DataError: it holds something else, which would be lost.
    """
    try:
        names = {entry.name for entry in out.iterdir()} if out.is_dir() else set()
    except OSError as error:
        raise DataError(
            f"{out}: cannot be read ({reason_of(error)}): {what_to_do(error)}"
        ) from error
    corpus, run = out / CORPUS, out / RUN
    if CORPUS in names and not synthetic.is_rendered(corpus):
        raise DataError(f"{corpus}: is not of an earlier demonstration: {_OTHER}")
    models = [*run.glob("*.safetensors"), *run.glob("*.onnx")]
    if models and not _is_of_the_recipe(run):
        raise DataError(f"{run}: is a run, but not of an earlier demonstration: {_OTHER}")
    ours = CORPUS in names or models or _is_marked(out / TABLE)
    # A rendering that was killed leaves a hidden folder and nothing else.
    if not ours and any(not name.startswith(".") for name in names):
        raise DataError(f"{out}: is not empty and not of an earlier demonstration: {_OTHER}")


def write_table(table: pa.Table, out: Path) -> Path:
    """Writes the utterances, marked as those of a demonstration; returns their file."""
    with atomic_write(out / TABLE) as path:
        pq.write_table(table.replace_schema_metadata(_MARK), path)
    return out / TABLE


def _is_of_the_recipe(run: Path) -> bool:
    try:
        return bool(checkpoints.load(run).header.recipe.get("name") == RECIPE)
    except ModelError:
        return False


def _is_marked(table: Path) -> bool:
    try:
        found = pq.read_schema(table).metadata or {}
    except (OSError, pa.ArrowException):
        return False
    return bool(found.items() >= _MARK.items())
