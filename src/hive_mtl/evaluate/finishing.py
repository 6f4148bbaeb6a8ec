"""What a model that ships says of its own answers, found on voices that it has not learnt from."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from hive_mtl.description import ModelDescription
from hive_mtl.evaluate import calibrating
from hive_mtl.evaluate.cohort import add_cohort
from hive_mtl.evaluate.discriminant import add_discriminant
from hive_mtl.evaluate.embedded import embed_table
from hive_mtl.evaluate.head_fitting import fit_heads
from hive_mtl.evaluate.splits import VALIDATION, held_out, take_split
from hive_mtl.learn.export import describe_anew
from hive_mtl.use.model import load


def finish(file: Path, table: pa.Table, origin: str) -> ModelDescription:
    """Maps the embedding by its discriminant, adds a cohort, fits calibration and heads.

    Args:
        file: the model.onnx of an export; it is written anew.
        table: the data of the training, as :func:`hive_mtl.learn.utterances.conform` makes it;
            corpora that were left out of it are left out here.
        origin: of the table, for errors.

    Raises:
        DataError: the data holds out too few voices.
    """
    learnt = pa.array([each.corpus for each in load(file).description.data], pa.string())
    table = table.filter(pc.is_in(table["corpus"], value_set=learnt))
    judged = take_split(table, VALIDATION, origin)
    calibrating.usable(judged)  # before any of the work: it raises where they are too few
    add_discriminant(file, table)
    add_cohort(file, table)
    model = load(file)  # with its cohort, by which scores are normalised before they are read
    calibration = calibrating.fit(model, judged)
    heads = fit_heads(embed_table(model, held_out(table, origin)), model.description.heads)
    description = model.description.model_copy(update={"calibration": calibration, "heads": heads})
    describe_anew(file, description)
    return description
