"""The learning wing: corpora, features, losses, tasks, networks and their training. Needs torch."""

import os

# OpenMP's threads spin while they wait for each other; on a machine that also makes batches, or does
# anything else, that doubles the CPU-seconds of training. It is read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
