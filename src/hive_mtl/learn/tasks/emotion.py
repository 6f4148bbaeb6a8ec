"""The emotion that a recording expresses, as its corpus names it."""

from hive_mtl.learn.tasks._base import ClassTask, Label


class TASK(ClassTask):
    """One class an emotion word."""

    def __init__(self) -> None:
        super().__init__("emotion")

    def parse(self, cell: str) -> Label | None:
        """Case and surrounding space do not matter."""
        return cell.strip().lower() or None
