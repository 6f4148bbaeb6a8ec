"""Verification among the voices of one gender or one age, since a mean over all hides them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hive_mtl.evaluate.bootstrap import FEWEST_SPEAKERS
from hive_mtl.evaluate.verification import Verification, Verifier
from hive_mtl.learn.tasks import get_task
from hive_mtl.learn.tasks._base import Label, label_spans

Indices = npt.NDArray[np.int64]

GENDERS = ("female", "male")
AGE_GROUPS = {"under 16": (0.0, 16.0), "16 to 59": (16.0, 60.0), "60 and over": (60.0, np.inf)}


def age_groups(labels: Sequence[Label | None]) -> list[str | None]:
    """The age group that holds each label; None where there is no label, or two groups share it."""
    low, high = label_spans(labels).T
    groups: list[str | None] = [None] * len(labels)
    for name, (youngest, oldest) in AGE_GROUPS.items():
        for row in np.flatnonzero((low >= youngest) & (high <= oldest)):
            groups[row] = name
    return groups


def judge_groups(verifier: Verifier, corpus: str, min_duration_s: float) -> list[Verification]:
    """The groups of a corpus that have a voice; without figures those of fewer than five."""
    embedded = verifier.embedded
    utterances = embedded.comparable(corpus, min_duration_s)
    ages = np.array(age_groups(get_task("age").labels_of(embedded.table)), dtype=object)
    found = []
    for groups, names in ((embedded.gender, GENDERS), (ages, AGE_GROUPS)):
        for name in names:
            members = utterances[groups[utterances] == name]
            if len(members):
                found.append(_judge(verifier, corpus, name, members))
    return found


def _judge(verifier: Verifier, corpus: str, name: str, members: Indices) -> Verification:
    judged = replace(verifier.among(corpus, name, members), curve=None)
    if len(set(verifier.embedded.voice[members])) >= FEWEST_SPEAKERS:
        return judged
    return replace(judged, eer=None, min_dcf=None, cllr=None, min_cllr=None)
