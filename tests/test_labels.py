"""How the cells of a table are read: ages and genders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_mtl.learn.labels import OLDEST, parse_age, parse_gender


@pytest.mark.parametrize(
    ("cell", "ages"),
    [
        ("34", (34, 35)),
        ("34.0", (34, 35)),
        ("34 years old", (34, 35)),
        ("20-29", (20, 30)),
        ("20\u201329 years", (20, 30)),
        ("30-49", (30, 50)),
        ("20s", (20, 30)),
        ("Twenties", (20, 30)),
        ("teens", (10, 20)),
        ("fourties", (40, 50)),
        ("60+", (60, 100)),
        ("0", (0, 1)),
        ("1985", None),
        ("30-20", None),
        ("-5", None),
        ("unknown", None),
        ("", None),
    ],
)
def test_ages(cell, ages):
    assert parse_age(cell) == ages


@given(st.text())
def test_any_text_is_an_age_with_a_width_or_none(cell):
    ages = parse_age(cell)
    assert ages is None or 0 <= ages[0] < ages[1]


@given(st.integers(0, OLDEST), st.integers(0, 20))
def test_a_range_of_years_holds_its_ends(low, width):
    assert parse_age(f"{low}-{low + width}") == (low, low + width + 1)


@pytest.mark.parametrize(
    ("cell", "gender"),
    [("M", "male"), (" Female ", "female"), ("male_masculine", "male"), ("woman", "female")],
)
def test_genders(cell, gender):
    assert parse_gender(cell) == gender


@given(st.text())
def test_any_other_gender_is_not_labelled(cell):
    assert parse_gender(cell) in ("male", "female", None)
    assert parse_gender("other") is None
