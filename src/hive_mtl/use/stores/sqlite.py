"""The usual store: one SQLite file, for many readers and one writer at a time on one machine.

It is in WAL mode with full synchronisation, so that what was acknowledged survives a kill and a
power cut. ``PRAGMA user_version`` is the version of the schema; an older one is brought up to date
where it stands, with a copy kept beside it.

A backup is to be put in its place while no program has it open: SQLite would play the log of the
old file into the new one. A program that finds the file replaced or deleted while it has it open
writes the log into the old file and uses the store no more until it has closed it.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hive_mtl.atomic import atomic_write, reason_of
from hive_mtl.errors import StoreError
from hive_mtl.use.stores._base import Nearest
from hive_mtl.use.stores._matrix import Matrix
from hive_mtl.use.stores._sql import SCHEMA_VERSION, UNERASED, Run, SqlStore
from hive_mtl.use.stores._sqlite_tables import MIGRATIONS, TABLES

WAIT_S = 60.0  # for another process that writes
_APPLICATION = 0x48495645  # "HIVE"
_RETRY_S = 0.05
_ENDS = ("", "-wal", "-shm", ".matrix")  # of the names of the files that are the store
_WHY = {  # by the primary code of SQLite's error: what happened, what to do
    sqlite3.SQLITE_BUSY: (
        f"another program has been writing to it for {WAIT_S:.0f} s",
        "try again when it is done",
    ),
    sqlite3.SQLITE_READONLY: ("is read-only", "check the permissions or name another store"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "check the path and the permissions"),
    sqlite3.SQLITE_NOTADB: ("is not a database", "name a store, or a file that is not there yet"),
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space"),
    sqlite3.SQLITE_IOERR: ("the disk gives errors", "check it, or name another store"),
}


class SqliteStore(SqlStore):
    """Voices in one file; see :class:`Store`."""

    def __init__(self, file: Path) -> None:
        super().__init__(str(file))
        self._file = file.absolute()
        self._matrix = Matrix(self._file)
        self._used: tuple[int, int] | None = None  # what the connection is or was to
        if _identity(file) is not None:
            with self._reading():  # what is no store is told of now
                pass

    def owns(self, file: Path) -> bool:  # noqa: D102 - see Store
        own = self._file.resolve()
        return file.resolve() in {own.with_name(own.name + end) for end in _ENDS}

    @contextmanager
    def _reading(self) -> Iterator[Run]:
        with self._transaction("BEGIN") as run:
            yield run

    @contextmanager
    def _writing(self, *, making: bool = False) -> Iterator[Run]:
        with self._transaction("BEGIN IMMEDIATE", making=making) as run:
            run("UPDATE store SET generation = generation + 1")
            yield run

    @contextmanager
    def _transaction(self, begin: str, *, making: bool = False) -> Iterator[Run]:
        """In the file; while there is none, in an empty store that nothing is kept of."""
        with self._lock, self._explaining():
            if not making and self._connection is None and _identity(self._file) is None:
                with closing(_connect(":memory:")) as blank:
                    _migrate(blank, lambda _: None)
                    with _transaction(blank, begin) as run:
                        yield run
                return
            with _transaction(self._connected(), begin) as run:
                yield run

    def _pack(self, vector: npt.NDArray[np.float32]) -> bytes:
        return vector.astype("<f4").tobytes()

    def _unpack(self, value: Any) -> npt.NDArray[np.float32]:
        return np.frombuffer(value, "<f4").astype(np.float32)

    def nearest(  # noqa: D102 - see Store
        self, vector: npt.NDArray[np.float32], count: int, model_id: str
    ) -> Nearest:
        found = super().nearest(vector, count, model_id)
        if self._matrix.unchecked:
            with self._reading() as run:
                self._matrix.check(run)
        return found

    def _nearest_ids(self, run: Run, vector: npt.NDArray[np.float32], count: int) -> list[int]:
        return self._matrix.nearest(run, vector, count)

    def _erase(self) -> None:
        """The pages that deleted rows leave are zeroed at once (``secure_delete``).

        This rewrites the file, so that no page keeps an older copy of a row that was moved, and
        empties the write-ahead log.
        """
        if _identity(self._file) is None:
            return
        with self._lock, self._explaining(UNERASED):
            self._matrix.forget()
            connection = self._connected()
            connection.execute("VACUUM")
            ((busy, *_),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if busy:
            raise StoreError(
                f"{self.place}: it is done, but {self.place}-wal holds what was there until the "
                "programs that read the store have closed it"
            )

    def close(self) -> None:  # noqa: D102 - see Store
        with self._lock:
            if self._is_lost():
                self._empty_log()
            super().close()

    def _connected(self) -> Any:
        """The connection of this process; none to another file than that of the name."""
        connection = super()._connected()
        if self._is_lost():
            self._empty_log()
            raise StoreError(
                f"{self.place}: was replaced or deleted while it was open: close all programs that "
                f"have it open, delete {self.place}-wal and {self.place}-shm where they are left, "
                "and open it anew"
            )
        return connection

    def _is_lost(self) -> bool:
        """Whether the file that is open has gone from its place."""
        return self._connection is not None and self._used != _identity(self._file)

    def _empty_log(self) -> None:
        """SQLite would leave the log of a file that is lost to whatever has its name now."""
        with suppress(sqlite3.Error):  # where others read it, theirs is the last chance
            self._connection.execute("PRAGMA busy_timeout = 0")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _opened(self) -> sqlite3.Connection:
        if self._file.is_dir():
            raise StoreError(f"{self.place}: is a folder: give the name of a file")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            if _identity(self._file) is None:
                self._file.touch(mode=0o600)  # voices are nobody else's business
        except OSError as error:
            raise StoreError(
                f"{self.place}: cannot be made ({reason_of(error)}): name another store"
            ) from error
        used = _identity(self._file)
        if self._used not in (None, used):
            self._matrix.forget()
        self._used = used
        connection = _connect(str(self._file))
        try:
            _check_whose(connection, self.place)
            _migrate(connection, self._keep_copy)
        except BaseException:
            connection.close()
            raise
        return connection

    def _keep_copy(self, version: int) -> None:
        copy = self._file.with_name(f"{self._file.name}.schema-{version}")
        with atomic_write(copy) as temporary, closing(sqlite3.connect(self._file)) as source:
            temporary.touch(mode=0o600)  # as private as the store
            with closing(sqlite3.connect(temporary)) as target:
                source.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it

    @contextmanager
    def _explaining(self, consequence: str = "") -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            what, remedy = _WHY.get(
                code, (f"is damaged ({error})", "bring a copy back, or import an export")
            )
            raise StoreError(f"{self.place}: {what}: {remedy}{consequence}") from error


def _identity(file: Path) -> tuple[int, int] | None:
    """What tells a file from another of the same name; None if there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _connect(file: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        file, timeout=WAIT_S, isolation_level=None, check_same_thread=False
    )
    for setting in ("synchronous = FULL", "secure_delete = ON", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {setting}")
    return connection


def _runner(connection: sqlite3.Connection) -> Run:
    return lambda statement, *values: connection.execute(statement, values).fetchall()


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[Run]:
    connection.execute(begin)
    try:
        yield _runner(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _check_whose(connection: sqlite3.Connection, place: str) -> None:
    """Lets pass an empty file and a store that is not newer than this program."""
    with _transaction(connection, "BEGIN"):  # another process may be making the store
        application = _pragma(connection, "application_id")
        filled = _pragma(connection, "schema_version")
        version = _pragma(connection, "user_version")
    if filled and application != _APPLICATION:
        raise StoreError(
            f"{place}: is a database of something else: name a store, or a file that is not "
            "there yet"
        )
    if application == _APPLICATION and version > SCHEMA_VERSION:
        raise StoreError(
            f"{place}: is of version {version}, and this Hive-MTL knows up to {SCHEMA_VERSION}: "
            "update hive-mtl"
        )


def _migrate(connection: sqlite3.Connection, keep_copy: Callable[[int], None]) -> None:
    """Brings a file to the newest schema, from an older one or from none."""
    if _pragma(connection, "user_version") == SCHEMA_VERSION:
        return
    _patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"))
    with _transaction(connection, "BEGIN IMMEDIATE"):
        version = _pragma(connection, "user_version")  # others may have been faster
        if version == 0:
            _execute_all(connection, TABLES)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            version = SCHEMA_VERSION
        for old in range(version, SCHEMA_VERSION):
            if old == version:
                keep_copy(old)
            _execute_all(connection, MIGRATIONS[old])
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _execute_all(connection: sqlite3.Connection, script: str) -> None:
    """Statement by statement: ``executescript`` would end the transaction."""
    for statement in filter(str.strip, script.split(";")):
        connection.execute(statement)


def _patiently(change: Callable[[], object]) -> None:
    """SQLite does not wait by itself for the lock that a change of its journal needs."""
    end = time.monotonic() + WAIT_S
    while True:
        try:
            change()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(_RETRY_S)
        else:
            return
