"""The first language of the speaker, from free text about accent, dialect or origin."""

import pyarrow as pa

from hive_mtl.learn.accents import first_language_group, first_language_groups
from hive_mtl.learn.tasks._base import ClassTask, Label


class TASK(ClassTask):
    """One class a group of first languages; text that does not map is not labelled."""

    def __init__(self) -> None:
        super().__init__("accent")

    def parse(self, cell: str) -> Label | None:
        """'Tamil L1 (Indian)' -> the group that the project's table gives."""
        return first_language_group(cell)

    def labels_of(self, table: pa.Table) -> list[Label | None]:
        """In French, 'canada' is another first language than in English."""
        return [*first_language_groups(table)]
