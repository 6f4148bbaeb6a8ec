"""The language that is spoken, by its code."""

from hive_mtl.learn.tasks._base import ClassTask, Label


class TASK(ClassTask):
    """One class a language code; regional variants count as their language."""

    def __init__(self) -> None:
        super().__init__("language")

    def parse(self, cell: str) -> Label | None:
        """'en', 'en-GB', 'EN_us' -> 'en'."""
        code = cell.strip().lower().replace("_", "-").split("-")[0]
        return code or None
