"""The learning wing: corpora, features, losses, tasks, networks and their training. Needs torch."""

import os

# OpenMP's threads spin while they wait for each other; on a machine that makes batches beside, or
# does anything else, that doubles the CPU-seconds of training. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
