"""Where enrolled voices are kept: one file here is one kind of store."""

from pathlib import Path

from hive_mtl.use.stores._base import (
    Nearest,
    Neighbour,
    Sample,
    Snapshot,
    Store,
    StoredVoice,
    VoiceEntry,
    centroid,
)

__all__ = [
    "Nearest",
    "Neighbour",
    "Sample",
    "Snapshot",
    "Store",
    "StoredVoice",
    "VoiceEntry",
    "centroid",
    "open_store",
]


def open_store(place: str | Path) -> Store:
    """Opens a store; one that is not there yet is empty, and made when something is written to it.

    Args:
        place: ``postgresql://...`` is a PostgreSQL database with pgvector, all else one SQLite
            file.

    Raises:
        MissingExtraError: a PostgreSQL database, and psycopg or pgvector is not installed.
        StoreError: it cannot be reached or read, or it is something else or of a newer version.
    """
    if isinstance(place, str) and place.startswith(("postgresql://", "postgres://")):
        from hive_mtl.use.stores.postgresql import PostgresqlStore

        return PostgresqlStore(place)
    from hive_mtl.use.stores.sqlite import SqliteStore

    return SqliteStore(Path(place))
