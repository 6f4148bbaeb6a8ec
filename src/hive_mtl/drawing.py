"""What all pictures that Matplotlib draws have in common: names as they are, and no complaints."""

import warnings
from collections.abc import Sequence
from typing import Any

_LONGEST = 40  # characters of a name: more, and the picture is all names


def plain(text: str) -> str:
    """A name as it is, but for its middle where it is long.

    Matplotlib reads what stands between two dollar signs as a formula, and draws no text that is
    not Unicode or holds a control character.
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    text = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    if len(text) > _LONGEST:
        half = _LONGEST // 2
        text = f"{text[:half]}\N{HORIZONTAL ELLIPSIS}{text[1 - half :]}"
    return text.replace("$", r"\$")


def add_legend(axes: Any, handles: Sequence[Any], names: Sequence[str], **how: Any) -> None:
    """A legend of all ``names``: left to itself, Matplotlib omits those that begin with '_'."""
    legend = axes.legend(handles, [str(number) for number in range(len(names))], **how)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(plain(name))


def save(figure: Any, target: Any, **how: Any) -> None:
    """Writes a figure, with no warnings of signs that the font lacks or of too little room."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        figure.savefig(target, **how)
