"""Models on the Hugging Face Hub: fetched by their name, and published.

All goes through ``huggingface_hub``: its cache, its settings (``HF_HOME``, ``HF_HUB_OFFLINE``,
``HF_ENDPOINT``) and its places for a token (``HF_TOKEN``, ``hf auth login``).
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hive_mtl.errors import MissingExtraError, ModelError
from hive_mtl.use.network import Network

NETWORK, CARD = "model.onnx", "MODEL_CARD.md"
_DESCRIPTION, _WEIGHTS = "model.json", "model.safetensors"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_LOG_IN = "log in with 'hf auth login', or set HF_TOKEN to a token that may do this"
_FRONT_MATTER = """\
---
library_name: hive-mtl
tags:
- speaker-verification
- speaker-embedding
- multi-task-learning
- onnx
---

"""


def is_name(path: object) -> bool:
    """Whether text of the form ``org/name`` can only mean a model on the Hub."""
    if not isinstance(path, str) or not _NAME.fullmatch(path) or path.endswith(".onnx"):
        return False
    return not os.path.lexists(path)


def fetch(name: str) -> Path:
    """The ``model.onnx`` of a model on the Hub, in the Hub's cache; only what is new is downloaded.

    Raises:
        MissingExtraError: ``huggingface_hub`` is not installed.
        ModelError: there is no such model, it may not be read, or the Hub cannot be reached.
    """
    with _problems_in_one_line(name, f"{name} is no file or folder here; fetching it from the Hub"):
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        network = hf_hub_download(name, NETWORK, library_name="hive-mtl")
        with suppress(EntryNotFoundError):  # it is for people
            hf_hub_download(name, _DESCRIPTION, library_name="hive-mtl")
    return Path(network)


def publish(folder: Path, name: str, *, private: bool = False) -> str:
    """Uploads a model and its card in one commit; makes the repository where there is none.

    Args:
        folder: holds model.onnx, model.json, model.safetensors and MODEL_CARD.md. The card becomes
            README.md; one that does not begin with front matter of its own gets some that tells
            what it is, but no licence: that depends on the data of the training.
        name: ``org/name`` on the Hub.
        private: for nobody else to read.

    Returns:
        The address of the commit.

    Raises:
        MissingExtraError: ``huggingface_hub`` is not installed.
        ModelError: the folder lacks a file, its model is broken, the repository is there and public
            although ``private``, or the Hub cannot be reached or does not allow it.
    """
    files = (NETWORK, _DESCRIPTION, _WEIGHTS)
    if missing := [file for file in (*files, CARD) if not (folder / file).is_file()]:
        raise ModelError(
            f"{folder}: lacks {', '.join(missing)}: hive-mtl export writes the model, and "
            "hive-mtl evaluate --card its card"
        )
    description = Network(folder / NETWORK, "cpu").description
    card = (folder / CARD).read_text("utf-8")
    card = card if card.startswith("---\n") else _FRONT_MATTER + card
    with _problems_in_one_line(name, "publishing a model"):
        from huggingface_hub import CommitOperationAdd, HfApi

        api = HfApi(library_name="hive-mtl")
        api.create_repo(name, private=private or None, exist_ok=True)
        if private and not api.model_info(name).private:
            raise ModelError(f"{name}: is on the Hub already, and public: choose another name")
        added = [CommitOperationAdd(file, folder / file) for file in files]
        added.append(CommitOperationAdd("README.md", card.encode()))
        commit = api.create_commit(name, added, commit_message=f"Model {description.model_id}")
    return str(commit.commit_url)


@contextmanager
def _problems_in_one_line(name: str, feature: str) -> Iterator[None]:
    try:
        import huggingface_hub.errors as problems
        from httpx2 import HTTPError
        from huggingface_hub.utils import logging as hub_logging
    except ModuleNotFoundError as error:
        raise MissingExtraError(feature, "hub") from error
    level = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.ERROR)  # it tells of every attempt
    try:
        yield
    except problems.HFValidationError as error:
        raise ModelError(f"{name}: not a name that the Hub allows: write org/name") from error
    except problems.GatedRepoError as error:
        raise ModelError(
            f"{name}: its owner asks for consent: give it on the Hub's page, then {_LOG_IN}"
        ) from error
    except problems.RepositoryNotFoundError as error:
        raise ModelError(
            f"{name}: no such file or folder here and no such model on the Hub, or it is private: "
            f"check the name, or {_LOG_IN}"
        ) from error
    except problems.LocalEntryNotFoundError as error:
        raise ModelError(
            f"{name}: no such file or folder here, nor in the Hub's cache, and {_out_of_reach()}, "
            "or correct the name"
        ) from error
    except problems.EntryNotFoundError as error:
        raise ModelError(
            f"{name}: on the Hub, but without a {NETWORK}, so not a model of Hive-MTL"
        ) from error
    except problems.HfHubHTTPError as error:
        status = error.response.status_code
        remedy = _LOG_IN if status in (401, 403) else "try again later"
        raise ModelError(f"{name}: the Hub does not allow this ({status}): {remedy}") from error
    except ValueError as error:  # so the card's front matter, among others, is refused
        why = " ".join(str(error).split())
        raise ModelError(f"{name}: the Hub does not take this ({why}): correct it") from error
    except (HTTPError, ConnectionError, problems.XetDownloadError) as error:
        raise ModelError(f"{name}: {_out_of_reach()}") from error
    finally:
        hub_logging.set_verbosity(level)


def _out_of_reach() -> str:
    from huggingface_hub.constants import is_offline_mode

    if is_offline_mode():
        return "HF_HUB_OFFLINE is set: unset it once"
    return "the Hub cannot be reached: check the network"
