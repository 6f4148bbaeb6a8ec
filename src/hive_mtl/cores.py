"""How many cores there are to work with."""

import os


def cores() -> int:
    """Those of this process, which may not have all of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
