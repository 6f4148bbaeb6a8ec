"""Train on <speaker>/<anything>.<audio>: train_on_your_recordings.py FOLDER RUN [KEY=VALUE ...]."""

import sys
from pathlib import Path

import hive_mtl as hive
from hive_mtl.learn.config import load_recipe
from hive_mtl.learn.trainer import train


def main() -> None:
    folder, run, *settings = sys.argv[1:]
    # A first look, of a minute or two, at voices alone. Take "unified" for a model to use, and name
    # more tasks where your table has columns of labels.
    recipe = load_recipe("demo", ['tasks={speaker={loss="aam"}}', *settings])
    model = hive.load(train(recipe, [folder], Path(run)).folder)
    print(f"{run}: {model.description.model_id}")


if __name__ == "__main__":  # batches are made in other processes, which import this file
    main()
