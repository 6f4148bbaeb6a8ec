"""The map of embeddings: what sounds alike lies together; colour is voice, shape gender."""

from collections.abc import Sequence

import numpy as np

from hive_mtl.faces.demo.story import Recording
from hive_mtl.faces.pictures import svg
from hive_mtl.faces.pictures.places import places

_SHAPES = {"female": "circle", "male": "square"}


def draw_map(recordings: Sequence[Recording]) -> str:
    """The map as one ``<svg>`` element."""
    voices = list(dict.fromkeys(recording.voice for recording in recordings))
    marks = []
    for recording in recordings:
        gender = recording.labels.get("gender", "")
        text = f"voice {recording.voice}" + (f", {gender}" if gender else "")
        shape = _SHAPES.get(gender, "triangle")
        marks.append(svg.Mark(text, voices.index(recording.voice), shape))
    return svg.draw_map(
        places(np.stack([each.embedding.vector for each in recordings])),
        marks,
        [svg.style(number, len(voices)) for number in range(len(voices))],
        f"Map of {len(recordings)} recordings of {len(voices)} voices that training has not heard."
        " Recordings that sound alike lie together. The list of voices follows.",
    )
