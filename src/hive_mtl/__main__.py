"""``python -m hive_mtl`` is ``hive-mtl``."""

import sys

from hive_mtl.faces.cli import main

if __name__ == "__main__":
    sys.exit(main())
