"""From how people describe an accent to the group of the speaker's first language.

Descriptions of accents are free text. ``accent_groups.csv``, beside this file, lists what tells a
first language: a pattern of whole words, the group it stands for and, where the words alone do not
say it, the language that has to be spoken: 'canada' is English or French. A pattern without a group
rules every group out. What names no group, or two, is not labelled: 'India' may be a dozen first
languages, 'Filipino, United States English' is two. The groups are languages, or families where
speakers are few and the accents alike.
"""

import csv
import re
import unicodedata
from functools import cache
from importlib import resources

import pyarrow as pa

_FIRST_LANGUAGE = re.compile(r"(.+?) l1\b")  # as in 'Tamil L1 (Indian)'


@cache
def first_language_group(text: str, language: str | None = None) -> str | None:
    """The group that a description of an accent stands for, or None where it tells none.

    Args:
        text: the description, in any spelling and language.
        language: the code of the language spoken, such as 'en' or 'zh-TW'; if None, only what holds
            in every language counts.
    """
    words = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    if stated := _FIRST_LANGUAGE.match(words):
        words = stated[1]
    code = re.split(r"[-_]", language.strip().lower())[0] if language else None
    found = {
        group for only, pattern, group in _table() if only in ("", code) and pattern.search(words)
    }
    return (found.pop() or None) if len(found) == 1 else None


def first_language_groups(table: pa.Table) -> list[str | None]:
    """The group of each row, by its ``accent`` and, where the table tells it, its ``language``."""
    unknown = [None] * len(table)
    accents, languages = (
        table[name].to_pylist() if name in table.column_names else unknown
        for name in ("accent", "language")
    )
    return [
        None if accent is None else first_language_group(accent, language)
        for accent, language in zip(accents, languages, strict=True)
    ]


@cache
def groups() -> tuple[str, ...]:
    """All groups, in alphabetical order."""
    return tuple(sorted({group for _, _, group in _table() if group}))


@cache
def _table() -> tuple[tuple[str, re.Pattern[str], str], ...]:
    """(language or '', pattern, group or '' where the pattern rules any group out)."""
    file = resources.files(__package__).joinpath("accent_groups.csv")
    rows = csv.DictReader(file.read_text(encoding="utf-8").splitlines())
    return tuple(
        (row["language"], re.compile(rf"\b(?:{row['pattern']})\b"), row["group"]) for row in rows
    )
