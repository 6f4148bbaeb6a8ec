"""The command that says whether one unified embedding beats the specialised ones."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hive_mtl.errors import ConfigError
from hive_mtl.faces.cli.answers import OUT, Data, Json, Overrides, Tasks, print_json, tell


@Parameter(name="*")
@dataclass(frozen=True)
class CompareOptions:
    """How a comparison departs from its recipe, and how it runs.

    Attributes:
        seeds: Trainings of each arm, in place of the recipe's compare.seeds.
        jobs: Trainings at a time; default: 1. They share the cores, and take the GPUs by turns.
        dry_run: Say what would be trained, what is done already and how long the rest takes.
    """

    overrides: Overrides = ()
    tasks: Tasks = None
    seeds: int | None = None
    jobs: int = 1
    dry_run: bool = False


_AS_THE_RECIPE_SAYS = CompareOptions()


def compare(
    recipe: str,
    /,
    *,
    data: Data,
    out: Annotated[Path | None, OUT] = None,
    options: CompareOptions = _AS_THE_RECIPE_SAYS,
    as_json: Json = False,
) -> int:
    """Compare one unified embedding with specialised ones, all trained alike.

    Every task alone, all tasks together, and all tasks without the utterances that lack a label;
    each several times, until it no longer gains or the steps of the recipe are over. One voice in
    four of those with several recordings is held out to judge them; compare.quarters=[0,1,2,3]
    holds out one quarter after the other, and judges by all. A comparison that was stopped goes on
    when the command is given again.

    Args:
        recipe: The name of a recipe of the package, or a TOML file; it fixes the statistics.
        out: The folder of the comparison; default: comparisons/ and the name of the recipe.
    """
    from hive_mtl.evaluate.compare import report
    from hive_mtl.evaluate.compare.running import plan, run
    from hive_mtl.learn.config import load_recipe, with_tasks

    if options.jobs < 1:
        raise ConfigError(f"--jobs {options.jobs}: give 1 or more")
    seeds = () if options.seeds is None else (f"compare.seeds={options.seeds}",)
    configured = load_recipe(recipe, (*options.overrides, *seeds))
    if options.tasks is not None:
        configured = with_tasks(configured, options.tasks.split(","))
    planned = plan(configured, data, out or Path("comparisons") / configured.name, tell)
    for line in planned.lines(options.jobs):
        tell(line)
    if options.dry_run:
        return 0
    comparison = run(planned, options.jobs, tell)
    report.write(comparison, planned.out)
    if as_json:
        print_json(asdict(comparison))
    else:
        print(report.markdown(comparison))
        print(f"{planned.out / report.HTML}: the same with pictures")
    return 0
