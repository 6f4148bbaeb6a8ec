"""What the names of files and folders tell: the corpus, and the split."""

import re
from collections.abc import Iterable
from pathlib import Path


def corpus_name(root: Path) -> str:
    """What a corpus is called whose rows do not say: the name of its folder, or of its file."""
    if root.name.lower() == "librispeech":
        return "librispeech"
    return root.name if root.is_dir() else Path(root.name.removesuffix(".gz")).stem


def own_splits(parts: Iterable[str]) -> dict[str, str | None]:
    """The split that each part of a corpus belongs to by its name, as in 'train-clean-360'.

    Parts name a split only beside a part for training: whoever has nothing but 'dev-clean' means
    to use it as a whole, and then every part is None.
    """
    words = {part: re.split(r"[^a-z]", part.lower())[0] for part in parts}
    known = {"train", "dev", "valid", "validation", "test", "eval"}
    if "train" not in words.values():
        return dict.fromkeys(words)
    return {part: word if word in known else None for part, word in words.items()}
