"""Gender as the corpora label it: female or male; anything else is not labelled."""

from hive_mtl.learn.tasks._base import ClassTask, Label
from hive_mtl.learn.utterances import parse_gender


class TASK(ClassTask):
    """Two classes."""

    def __init__(self) -> None:
        super().__init__("gender")

    def parse(self, cell: str) -> Label | None:
        """'F', 'woman', 'Male' ... -> 'female' or 'male'."""
        return parse_gender(cell)
