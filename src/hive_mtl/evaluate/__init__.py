"""How a figure is earned: the protocols over both wings, and the report."""

from hive_mtl.errors import MissingExtraError

try:
    from hive_mtl.evaluate.binary import judge_binary
    from hive_mtl.evaluate.conditions import judge_conditions
    from hive_mtl.evaluate.degrade import embed_degraded
    from hive_mtl.evaluate.finishing import finish
    from hive_mtl.evaluate.head_fitting import fit_heads
    from hive_mtl.evaluate.protocol import evaluate, judge
    from hive_mtl.evaluate.report import Report
    from hive_mtl.evaluate.splits import take_split, unheard
    from hive_mtl.evaluate.trial_lists import read_trials
except ModuleNotFoundError as error:
    raise MissingExtraError("evaluating a model", "train,analysis") from error

__all__ = [
    "Report",
    "embed_degraded",
    "evaluate",
    "finish",
    "fit_heads",
    "judge",
    "judge_binary",
    "judge_conditions",
    "read_trials",
    "take_split",
    "unheard",
]
