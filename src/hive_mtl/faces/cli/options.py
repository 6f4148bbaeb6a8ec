"""Options that several commands of those who use a model take."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from hive_mtl.errors import DataError

if TYPE_CHECKING:
    from hive_mtl.use.model import Model
    from hive_mtl.use.voices import Voices


def _check_named(_kind: type, path: object) -> None:
    """An empty path would be the working folder."""
    if path == "":
        raise ValueError("An empty path: give the path of a recording.")


Recording = Annotated[str, Parameter(validator=_check_named)]


def in_folders(sources: Iterable[str]) -> Iterator[str]:
    """The recordings given; in place of a folder those in it, which begin with it as it was given.

    Raises:
        DataError: a folder has none.
    """
    from hive_mtl.audio import find_recordings, is_folder

    for source in sources:
        if not is_folder(source):
            yield source
            continue
        found = find_recordings(source)
        if not found:
            raise DataError(f"{source}: a folder without recordings: give another")
        for recording in found:
            yield f"{source.rstrip('/')}/{recording.relative_to(source)}"


@Parameter(name="*")
@dataclass(frozen=True)
class ModelOptions:
    """Which model, and what it runs on; what is not given is left to :func:`hive_mtl.load`."""

    path: Annotated[
        str | None,
        Parameter(
            "--model",
            help="ONNX file, run folder or org/name on the Hugging Face Hub; default: the one "
            "shipped.",
        ),
    ] = None
    threads: Annotated[int | None, Parameter(help="Cores to use; default: all.")] = None
    device: Annotated[Literal["cpu", "cuda"] | None, Parameter(help="Where to run.")] = None
    calibration: Annotated[
        Path | None,
        Parameter(help="File of calibrate; default: the one kept for the model, or its own."),
    ] = None

    def load(self) -> "Model":
        """The model asked for."""
        import hive_mtl

        return hive_mtl.load(**self._given())

    def load_to_calibrate(self) -> "Model":
        """Likewise, without the calibration that is kept for it.

        That may be beyond reading, or fitted to the pairs by which it would be judged.
        """
        if self.calibration is not None:
            return self.load()
        from hive_mtl.use.model import load_as_exported

        return load_as_exported(**self._given())

    def _given(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if v is not None}


SHIPPED = ModelOptions()


def _check_place(_kind: type, place: object) -> None:
    if place == "":
        raise ValueError("An empty path: give the path of a file, or postgresql://...")


Place = Annotated[
    str | None,
    Parameter(
        "--store",
        validator=_check_place,
        help="SQLite file, or postgresql://...; default: one in your data folder.",
    ),
]


def open_voices(store: str | None, options: ModelOptions | None = None) -> "Voices":
    """The enrolled voices of a store, and the model that is to hear them, where one is."""
    import hive_mtl

    return hive_mtl.Voices(store, options.load() if options else None)


@Parameter(name="*")
@dataclass(frozen=True)
class Compared:
    """What is compared beside the two, and how; what is not given is left to the library.

    Attributes:
        more_a: A further recording of the voice in A; may be given several times.
        more_b: A further recording of the voice in B; may be given several times.
        false_alarm: Share of pairs of different voices that may pass: 0.1, 0.01 or 0.001; default:
            0.01.
        prior: Probability of the same voice beforehand; default: 0.5. It moves the probability,
            not the verdict.
    """

    more_a: tuple[Recording, ...] = ()
    more_b: tuple[Recording, ...] = ()
    false_alarm: float | None = None
    prior: float | None = None

    def settings(self) -> dict[str, float]:
        """What is given of how to compare."""
        given = {"false_alarm": self.false_alarm, "prior": self.prior}
        return {name: value for name, value in given.items() if value is not None}


USUAL = Compared()
