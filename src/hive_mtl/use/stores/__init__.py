"""Where enrolled voices are kept: one file here is one kind of store."""

from pathlib import Path

from hive_mtl.audio import ADDRESS
from hive_mtl.errors import StoreError
from hive_mtl.use.stores._base import (
    Nearest,
    Neighbour,
    Sample,
    Snapshot,
    Store,
    StoredVoice,
    VoiceEntry,
    centroid,
    check_new,
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
    "check_new",
    "open_store",
]


def open_store(place: str | Path) -> Store:
    """Opens a store; one that is not there yet is empty, and made when something is written to it.

    Args:
        place: ``postgresql://...`` is a PostgreSQL database with pgvector, all else one SQLite
            file.

    Raises:
        MissingExtraError: a PostgreSQL database, and psycopg or pgvector is not installed.
        StoreError: it cannot be reached or read, or it is something else, of a newer version or
            an address of another kind.
    """
    address = str(place)
    kind = ADDRESS.match(address)
    if kind is None:
        from hive_mtl.use.stores.sqlite import SqliteStore

        return SqliteStore(Path(place))
    from hive_mtl.use.stores.postgresql import PostgresqlStore

    if kind[1].lower() not in ("postgresql", "postgres"):
        raise StoreError(
            f"{kind[0]}...: is an address of no known kind: give a file or postgresql://..."
        )
    return PostgresqlStore(f"postgresql://{address[kind.end() :]}")
