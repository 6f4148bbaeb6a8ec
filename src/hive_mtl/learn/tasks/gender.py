"""Gender as the corpora label it: female or male; anything else is not labelled."""

from hive_mtl.learn.labels import parse_gender
from hive_mtl.learn.tasks._base import ClassTask, Label


class TASK(ClassTask):
    """Two classes."""

    def __init__(self) -> None:
        super().__init__("gender")

    def parse(self, cell: str) -> Label | None:
        """'F', 'woman', 'Male' ... -> 'female' or 'male'."""
        return parse_gender(cell)
