"""What the cells of a table say of a voice: its age, its gender."""

import re

OLDEST = 100.0  # where an open-ended '60+' ends

_DECADES = {
    "teens": 10,
    "twenties": 20,
    "thirties": 30,
    "forties": 40,
    "fourties": 40,  # so spelt by Common Voice
    "fifties": 50,
    "sixties": 60,
    "seventies": 70,
    "eighties": 80,
    "nineties": 90,
}
_AGE = re.compile(
    r"(?P<low>\d{1,3})(\.\d+)?"
    r"((?P<decade>'?s)|\s*(?P<open>\+)|\s*(-|\u2013|to)\s*(?P<high>\d{1,3}))?"
    r"(\s*(years?|yrs?|y)(\s+old)?)?"
)
_GENDERS = {
    **dict.fromkeys(("male", "m", "man", "boy", "masculine", "male_masculine"), "male"),
    **dict.fromkeys(("female", "f", "woman", "girl", "feminine", "female_feminine"), "female"),
}


def parse_age(cell: str) -> tuple[float, float] | None:
    """Years or a range of years as (low, high), low <= age < high; None where it is not an age.

    '34' is (34, 35); '20-29', '20s' and 'twenties' are (20, 30); '60+' is (60, 100).
    """
    cell = cell.strip().lower()
    if cell in _DECADES:
        return float(_DECADES[cell]), float(_DECADES[cell] + 10)
    found = _AGE.fullmatch(cell)
    if found is None:
        return None
    low = float(found["low"])
    if found["open"]:
        high = OLDEST
    elif found["decade"]:
        high = low + 10
    else:
        high = float(found["high"] or low) + 1
    return (low, high) if low < high <= OLDEST + 21 else None


def parse_gender(cell: str) -> str | None:
    """'male', 'female', or None for anything else, which is not labelled."""
    return _GENDERS.get(cell.strip().lower())
