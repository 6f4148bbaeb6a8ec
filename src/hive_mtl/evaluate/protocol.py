"""The protocol: what is measured on a table of utterances."""

import pyarrow as pa

from hive_mtl.evaluate.attributes import Attribute, judge_head
from hive_mtl.evaluate.bootstrap import SEED, Bootstrap
from hive_mtl.evaluate.clustering import judge_clustering
from hive_mtl.evaluate.embedded import EmbeddedTable, embed_table
from hive_mtl.evaluate.groups import judge_groups
from hive_mtl.evaluate.identification import identify
from hive_mtl.evaluate.open_set import identify_open_set
from hive_mtl.evaluate.original_test import original_test as identify_as_original
from hive_mtl.evaluate.report import Report
from hive_mtl.evaluate.verification import Verifier
from hive_mtl.trials import Trials
from hive_mtl.use.model import Model

TRIAL_LIST = "(trial list)"


def evaluate(
    model: Model,
    table: pa.Table,
    *,
    trials: Trials | None = None,
    original_test: bool = False,
    min_duration_s: float = 2.0,
    bootstrap: int = 1000,
) -> Report:
    """Embeds every utterance once and judges all that the model is for.

    Verification, identification and clustering run inside each corpus, over utterances whose
    speaker is known; where a corpus gives two sessions for one of its speakers, the first two run
    only across sessions.

    Args:
        model: what is judged.
        table: as :func:`hive_mtl.learn.utterances.conform` makes it.
        trials: verify these pairs of rows, of any duration, instead of all pairs of each corpus.
        original_test: identify as the original's test did as well, see
            :mod:`hive_mtl.evaluate.original_test`.
        min_duration_s: shorter utterances take part in attributes alone.
        bootstrap: how often speakers are drawn for the confidence intervals.

    Raises:
        DataError: the table is empty.
    """
    return judge(
        model,
        embed_table(model, table),
        trials=trials,
        original_test=original_test,
        min_duration_s=min_duration_s,
        bootstrap=bootstrap,
    )


def judge(
    model: Model,
    embedded: EmbeddedTable,
    *,
    trials: Trials | None = None,
    original_test: bool = False,
    min_duration_s: float = 2.0,
    bootstrap: int = 1000,
) -> Report:
    """Judges what :func:`evaluate` does where the utterances are embedded already."""
    resampling = Bootstrap(bootstrap, SEED)
    verifier = Verifier(embedded, model.calibration, resampling)
    if trials is None:
        verification = [
            row for corpus in embedded.corpora for row in verifier.corpus(corpus, min_duration_s)
        ]
    else:
        verification = verifier.trial_list(TRIAL_LIST, trials)
    groups = [
        row for corpus in embedded.corpora for row in judge_groups(verifier, corpus, min_duration_s)
    ]
    identification = [
        row
        for corpus in embedded.corpora
        for row in identify(embedded, corpus, min_duration_s, resampling)
    ]
    open_set = [
        identify_open_set(embedded, corpus, min_duration_s, resampling, model.calibration)
        for corpus in embedded.corpora
    ]
    if original_test:
        identification += identify_as_original(model, embedded, resampling)
    attributes: list[Attribute] = []
    for head in model.description.heads:
        attributes += judge_head(embedded, head, resampling)
    return Report(
        model_id=model.description.model_id,
        provisional=model.description.provisional,
        min_duration_s=min_duration_s,
        replicates=bootstrap,
        seed=SEED,
        coverage=tuple(embedded.coverage(corpus) for corpus in embedded.corpora),
        verification=tuple(verification),
        identification=tuple(identification),
        attributes=tuple(attributes),
        failures=embedded.failures,
        groups=tuple(groups),
        clustering=tuple(
            judge_clustering(embedded, model.calibration, [corpus], min_duration_s)
            for corpus in embedded.corpora
        ),
        open_set=tuple(open_set),
    )
