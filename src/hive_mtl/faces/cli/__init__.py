"""The command line. ``main`` is the only place that turns errors into exit statuses.

Commands are named here and imported when one is called, so that ``hive-mtl --help`` costs no more
than the parser. Exit status: 0 done, 1 a clean 'no', 2 bad input or usage or some files failed.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import version
from io import TextIOWrapper
from itertools import chain
from pathlib import Path

from cyclopts import App, CycloptsError, Group, Parameter, UnknownCommandError

from hive_mtl.atomic import what_to_do
from hive_mtl.errors import HiveError, MissingExtraError
from hive_mtl.faces.cli.answers import complain

FAILED = 2
INTERRUPTED = 130  # what shells give a command that SIGINT ended
PIPE_CLOSED = 141  # likewise SIGPIPE

_COMMANDS = {  # by title, by command: the module here that has it, and what it does
    "Use a model": {
        "embed": ("use", "Write the embeddings of recordings to a file."),
        "verify": ("use", "Say whether two recordings are of one voice."),
        "attributes": ("use", "Estimate gender, age and whatever else the model answers."),
        "calibrate": ("use", "Fit probabilities and thresholds to recordings of your own."),
        "bench": ("use", "Measure how fast this machine embeds."),
    },
    "Know voices": {
        "enroll": ("voices", "Enrol a voice under a name."),
        "identify": ("voices", "Say whose voice it is, of those enrolled, if anybody's."),
        "voices": ("voices", "List, show, rename, merge, remove, export or import them."),
        "cluster": ("groups", "Group recordings by voice."),
        "diarize": ("diarize", "Say who speaks when in a recording."),
        "map": ("groups", "Draw a map of recordings: what sounds alike lies together."),
        "find": ("find", "Find where a voice speaks in a folder of long recordings."),
    },
    "Make a model": {
        "demo": ("develop", "Run the whole story, offline, in about five minutes."),
        "doctor": ("develop", "Say what is wrong with data before training on it."),
        "train": ("develop", "Train a unified embedding, or continue one."),
        "evaluate": ("measure", "Measure a model on labelled recordings."),
        "compare": ("compare", "Say whether one unified embedding beats specialised ones."),
        "evaluate-diarization": ("measure", "Measure who speaks when on composed dialogues."),
        "export": ("develop", "Make an ONNX model of a checkpoint."),
        "average": ("develop", "Make one checkpoint of several runs: the mean of their weights."),
        "publish": ("develop", "Upload a model and its card to the Hugging Face Hub."),
        "import-keras": ("develop", "Take over a checkpoint of the original or of Deep Speaker."),
    },
    "The original's four steps": {
        "download-librispeech": ("original", "Fetch LibriSpeech, checked and unpacked."),
        "build-mfcc": ("original", "Decode every recording once and keep its features."),
        "build-model-inputs": ("original", "Draw the crops of each voice."),
        "train-mtl": ("original", "Train the speaker and the gender task, and measure the model."),
    },
}
_GROUPS = frozenset({"voices"})  # commands that have commands: each is an App in its module
COMMANDS = tuple(chain.from_iterable(_COMMANDS.values()))
_EXTRA_OF_MODULE = {
    "espeakng_loader": "demo",
    "fast_mp3_augment": "train",
    "h5py": "train",
    "huggingface_hub": "hub",
    "jinja2": "analysis",
    "lhotse": "lhotse",
    "lightning_fabric": "train",
    "matplotlib": "analysis",
    "onnx": "train",
    "onnxscript": "train",
    "pgvector": "postgres",
    "psycopg": "postgres",
    "pyannote": "analysis",
    "pyroomacoustics": "train",
    "openTSNE": "analysis",
    "pyarrow": "analysis",
    "safetensors": "train",
    "scipy": "train",
    "sklearn": "analysis",
    "tensorboard": "train",
    "threadpoolctl": "analysis",
    "torch": "train",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; never raises.

    Args:
        argv: the words after ``hive-mtl``; those of the process by default.

    Returns:
        The exit status.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be valid text
    try:
        status = _app(words := _with_hyphens(words))(
            words,
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon_stdout()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a user gets one line, whatever happened
        if sys.flags.dev_mode:  # python -X dev -m hive_mtl ...
            traceback.print_exc()
        _say_why(error, command=words[0] if words else "")
        return FAILED
    return status or 0


def _open_closed_streams() -> None:
    """Python has None for a stream that was closed before it began; what is said goes nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
            setattr(sys, name, nowhere)


def _app(words: Sequence[str]) -> App:
    """The parser of ``words``: of the command that is called, help tells all that it says."""
    app = App(
        name="hive-mtl",
        help="One voice embedding, every voice task.",
        version=lambda: version("hive-mtl"),
        default_parameter=Parameter(negative=(), show_default=False),
        suppress_keyboard_interrupt=False,
    )
    for title, commands in _COMMANDS.items():
        group = Group.create_ordered(title)
        for place, (name, (module, summary)) in enumerate(commands.items()):
            home = f"hive_mtl.faces.cli.{module}:{name.replace('-', '_')}"
            told = None if name in words[:1] else summary  # None: what its docstring tells
            app.command(home, name=name, help=told, group=group, sort_key=place)
    return app


def _with_hyphens(words: list[str]) -> list[str]:
    """``train_mtl`` and ``train-mtl`` are the same command; the words behind it are left alone."""
    names = 2 if words and words[0] in _GROUPS else 1
    return [word.replace("_", "-") for word in words[:names]] + words[names:]


def _say_why(error: Exception, command: str) -> None:
    complain(_reason(error, command))
    if isinstance(error, OSError) and error.filename is None:
        _abandon_stdout()  # it may be what could not be written to


def _reason(error: Exception, command: str) -> str:
    match error:
        case HiveError():
            return str(error)
        case UnknownCommandError():
            return _unknown_command(error, command)
        case CycloptsError():
            error.verbose = False
            return f"{error} hive-mtl {command} --help shows the usage"
        case ModuleNotFoundError() if (module := (error.name or "").partition(".")[0]) in (
            _EXTRA_OF_MODULE
        ):
            return str(MissingExtraError(f"hive-mtl {command}", _EXTRA_OF_MODULE[module]))
        case OSError():
            place = f"{error.filename}: " if error.filename else ""
            return f"{place}{error.strerror or error}: {what_to_do(error)}"
        case MemoryError():
            return "out of memory: give less at a time, or use a machine with more memory"
        case _:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(frame.filename).name}, line {frame.lineno}"
            return (
                f"this is a bug in Hive-MTL ({type(error).__name__} at {where}: {error}): please "
                "report it with the command you gave"
            )


def _unknown_command(error: UnknownCommandError, command: str) -> str:
    group, choices = "", COMMANDS
    if error.command_chain and error.app is not None:  # it is the command of a group
        group = f"{command} "
        choices = tuple(name for name in error.app if not name.startswith("-"))
        command = error.unused_tokens[0] if error.unused_tokens else ""
    near = get_close_matches(command.replace("_", "-"), choices, n=1)
    nearest = f" (did you mean '{group}{near[0]}'?)" if near else ""
    return f"unknown command '{group}{command}'{nearest}: hive-mtl {group}--help lists them all"


def _abandon_stdout() -> None:
    """Lets what is still buffered go nowhere, or Python would complain about it at exit."""
    if isinstance(sys.stdout, TextIOWrapper):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
