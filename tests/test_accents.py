"""From descriptions of accents to groups of first languages."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_mtl.learn.accents import first_language_group, groups


@pytest.mark.parametrize(
    ("text", "language", "group"),
    [
        ("Tamil L1 (Indian)", "en", "dravidian"),
        ("Hindi L1 (Indian)", "en", "indo-aryan"),
        ("English L1 (Indian)", "en", "english"),
        ("Chinese L1 (American)", "en", "chinese"),
        ("Mandarin L1", "en", "chinese"),
        ("United States English", "en", "english"),
        ("England English", None, "english"),
        ("us", "en", "english"),
        ("us", "es", None),
        ("Japanese English", "en", "japanese"),
        ("Fran\u00e7ais de France", "fr", "french"),
        ("canada", "fr", "french"),
        ("canada", "en", "english"),
        ("canada", None, None),
        ("belgium", "nl", "dutch"),
        ("belgium", "fr", "french"),
        ("310000", "zh-CN", "chinese"),
        ("310000", "en", None),
        ("central", "ca", "catalan"),
        ("Central Mexican Spanish", "es", "spanish"),
        ("\u0641\u0627\u0631\u0633\u06cc \u062a\u0647\u0631\u0627\u0646\u06cc", "fa", "persian"),
        ("Gay,United States English", "en", "english"),
        ("Filipino,United States English", "en", None),
        ("English Second Language,United States English", "en", None),
        ("Latin American", "en", None),
        ("India and South Asia (India, Pakistan, Sri Lanka)", "en", None),
        ("other", "zh", None),
        ("", "en", None),
    ],
)
def test_first_languages(text, language, group):
    assert first_language_group(text, language) == group


@given(st.text(), st.one_of(st.none(), st.text(max_size=6)))
def test_any_text_is_a_known_group_or_none(text, language):
    assert first_language_group(text, language) in (None, *groups())


@given(st.sampled_from(["Mandarin L1", "Korean", "Qu\u00e9b\u00e9cois", "Canadian English"]))
def test_case_and_spaces_do_not_matter(text):
    assert first_language_group(f" {text.upper()} ") == first_language_group(text) is not None


def test_most_descriptions_of_the_real_speech_map(shared_speech):
    with (shared_speech / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train" and row["accent"]]
    mapped = [first_language_group(row["accent"], row["language"]) for row in rows]
    assert sum(group is not None for group in mapped) > 0.9 * len(rows)
    assert len({*mapped} - {None}) >= 15
