"""The demonstration: the whole path from recordings to a verdict, offline, told step by step.

It prepares speech, trains a small model, judges it on voices that it has not heard, compares two
pairs, asks the task heads, and writes one page that shows all of it.
"""

from pathlib import Path

from hive_mtl.errors import MissingExtraError


def run(speech: Path | None, out: Path) -> Path:
    """Runs the demonstration; see :func:`hive_mtl.faces.demo.pipeline.run`."""
    # Here, because the process that renders speech imports this package and needs no torch.
    try:
        from hive_mtl.faces.demo import pipeline
    except (ModuleNotFoundError, MissingExtraError) as error:
        if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("hive_mtl"):
            raise
        raise MissingExtraError("the demonstration", "demo") from error

    return pipeline.run(speech, out)
