"""The demonstration: the whole path from recordings to a verdict, offline, told step by step.

It prepares speech, trains a small model, judges it on voices that it has not heard, compares two
pairs, asks the task heads, and writes one page that shows all of it.
"""

from hive_mtl.faces.demo.pipeline import run

__all__ = ["run"]
