"""The store beyond one machine: PostgreSQL with pgvector, in a schema ``hive_mtl`` of a database.

An HNSW index over the centroids as 16-bit numbers, half the memory, finds the nearest; cosines are
then taken in full precision.

When a voice is removed, tables and indexes are written anew, while others wait. The server's
write-ahead log holds what was there until it is recycled; backups and archives of that log are its
administrator's. Its statistics hold no names or vectors, unless an unreleased revision made the
store: then export the voices, drop the schema, and import them.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hive_mtl.errors import MissingExtraError, StoreError
from hive_mtl.use.stores._address import read_address
from hive_mtl.use.stores._sql import SCHEMA_VERSION, UNERASED, Run, SqlStore

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.errors import Diagnostic

_CONNECT_S = 10
_ERASING_S = 10  # for others who read the tables, or may still see what was removed
_RETRY_S = 0.2
_ERASED = "removals that are erased from the files:"  # in a comment on a table, with their number
_MOST_INDEXED = 4000  # numbers of 16 bits in an HNSW index of pgvector
_LEAST_LOOKED_AT = 200  # candidates that HNSW keeps: all but a few of the nearest 50 are found
_TABLES = """
CREATE SCHEMA IF NOT EXISTS hive_mtl;
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE IF NOT EXISTS hive_mtl.store (
    version integer NOT NULL,
    model_id text NOT NULL,
    generation bigint NOT NULL,
    removals bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS hive_mtl.voice (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    note text NOT NULL,
    labels text NOT NULL,
    created text NOT NULL,
    centroid vector NOT NULL,
    speech_seconds double precision NOT NULL,
    snr_db double precision NOT NULL,
    changed bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS hive_mtl.sample (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    voice bigint NOT NULL REFERENCES hive_mtl.voice (id),
    vector vector NOT NULL,
    speech_seconds double precision NOT NULL,
    snr_db double precision NOT NULL,
    clipped double precision NOT NULL,
    source text NOT NULL,
    start_s double precision NOT NULL,
    duration_s double precision
);
CREATE INDEX IF NOT EXISTS sample_voice ON hive_mtl.sample (voice);
-- The server's statistics hold values of a column, and would keep those of who is removed.
ALTER TABLE hive_mtl.voice
    ALTER name SET STATISTICS 0, ALTER note SET STATISTICS 0, ALTER labels SET STATISTICS 0,
    ALTER centroid SET STATISTICS 0;
ALTER TABLE hive_mtl.sample
    ALTER vector SET STATISTICS 0, ALTER source SET STATISTICS 0;
"""


class PostgresqlStore(SqlStore):
    """Voices in a database; see :class:`Store`."""

    def __init__(self, url: str) -> None:
        self._address = read_address(url)
        super().__init__(self._address.shown)
        self._url = url
        with self._reading():  # what cannot be reached is told of now
            pass

    @contextmanager
    def _reading(self) -> Iterator[Run]:
        with self._transaction("ISOLATION LEVEL REPEATABLE READ READ ONLY") as run:
            # Before the first query takes the snapshot: in one from before a TRUNCATE that was
            # waited for, the tables are empty.
            run("LOCK TABLE voice, sample IN ACCESS SHARE MODE")
            yield run

    @contextmanager
    def _writing(self, *, making: bool = False) -> Iterator[Run]:
        with self._transaction("READ WRITE") as run:
            run("UPDATE store SET generation = generation + 1")  # its row's lock: one writer
            yield run

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[Run]:
        with self._lock, self._explaining():
            connection = self._connected()
            with connection.transaction():
                connection.execute(f"SET TRANSACTION {kind}")
                yield _runner(connection)

    def _pack(self, vector: npt.NDArray[np.float32]) -> object:
        from pgvector import Vector

        return Vector(vector)

    def _unpack(self, value: Any) -> npt.NDArray[np.float32]:
        return np.asarray(value.to_numpy(), np.float32)

    def _nearest_ids(self, run: Run, vector: npt.NDArray[np.float32], count: int) -> list[int]:
        kind = f"halfvec({len(vector)})"
        run(f"SET LOCAL hnsw.ef_search = {max(_LEAST_LOOKED_AT, count)}")
        run("SET LOCAL hnsw.iterative_scan = strict_order")  # rows that are gone may be met
        rows = run(
            f"SELECT id FROM voice ORDER BY centroid::{kind} <=> ?::{kind} LIMIT ?",
            self._pack(vector),
            count,
        )
        return [number for (number,) in rows]

    def _bound(self, run: Run, dim: int) -> None:
        run("DROP INDEX IF EXISTS voice_nearest")
        run("TRUNCATE voice, sample")  # rows that are gone would be indexed, too, until a VACUUM
        if dim <= _MOST_INDEXED:
            run(
                "CREATE INDEX voice_nearest ON voice "
                f"USING hnsw ((centroid::halfvec({dim})) halfvec_cosine_ops)"
            )
            run("ALTER INDEX voice_nearest ALTER 1 SET STATISTICS 0")  # as in _TABLES

    def _erase(self) -> None:
        """Deleted rows stay in the files until tables and indexes are written anew.

        They are written along while anything of this database that began earlier might read them.
        """
        if self._rewrite() and (not self._outlasts_older() or self._rewrite()):
            raise StoreError(
                f"{self.place}: something that began earlier still sees what was removed, such as "
                f"a transaction, a replication slot or a standby: end it{UNERASED}"
            )

    def _erase_rest(self) -> None:
        with self._reading() as run:
            ((removals, erased),) = run(
                "SELECT removals, obj_description('hive_mtl.voice'::regclass, 'pg_class') "
                "FROM store"
            )
        if removals and erased != f"{_ERASED} {removals}":
            self._erase()

    def _outlasts_older(self) -> bool:
        """Waits for the transactions of others that run now; whether they have ended in time."""
        end = time.monotonic() + _ERASING_S
        older = self._transactions()
        while left := older & self._transactions():
            if time.monotonic() > end:
                break
            time.sleep(_RETRY_S)
        return not left

    def _transactions(self) -> set[tuple[int, str]]:
        """Of others in this database: their process, and what they began with or see."""
        with self._lock, self._explaining(UNERASED):
            rows = self._connected().execute(
                "SELECT pid, unnest(ARRAY['began ' || backend_xid, 'sees ' || backend_xmin]) "
                "FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return {(process, each) for process, each in rows if each is not None}

    def _rewrite(self) -> int:
        """Writes tables and indexes anew; says how many deleted rows were written along."""
        warnings: list[str] = []
        left: list[int] = []

        def note(said: "Diagnostic") -> None:
            if said.severity_nonlocalized == "WARNING":
                warnings.append(said.message_primary or "")
            elif said.severity_nonlocalized == "INFO":
                # of each table, in the server's language: "0 dead row versions cannot be removed"
                left.extend(map(int, re.findall(r"\d+", said.message_detail or "")[:1]))

        with self._lock, self._explaining(UNERASED):
            connection = self._connected()
            connection.add_notice_handler(note)
            try:
                connection.execute(f"SET lock_timeout = '{_ERASING_S}s'")
                ((removals,),) = connection.execute("SELECT removals FROM store")
                connection.execute("VACUUM (FULL, VERBOSE) hive_mtl.voice, hive_mtl.sample")
                if not (warnings or sum(left)):
                    erased = f"{_ERASED} {removals}"
                    connection.execute(f"COMMENT ON TABLE hive_mtl.voice IS '{erased}'")
            finally:
                connection.remove_notice_handler(note)
                if not connection.closed:
                    connection.execute("RESET lock_timeout")
        if warnings:  # a table was left out
            raise StoreError(
                f"{self.place}: the database refuses ({warnings[0]}): have the owner of its tables "
                f"remove it{UNERASED}"
            )
        return sum(left)

    def _connected(self) -> "Connection":
        """The connection of this process, made anew where it was lost."""
        connection: Connection = super()._connected()
        if connection.closed:
            connection = self._connection = self._opened()
        return connection

    def _opened(self) -> "Connection":
        try:
            import psycopg  # here, because the base install has neither
            from pgvector.psycopg import register_vector
        except ImportError as error:
            raise MissingExtraError("a store in PostgreSQL", "postgres") from error
        connection = psycopg.connect(self._url, autocommit=True, connect_timeout=_CONNECT_S)
        try:
            self._prepare(connection)
            register_vector(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: "Connection") -> None:
        if connection.execute("SELECT to_regclass('hive_mtl.store')").fetchone() == (None,):
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(x'48495645'::int)")  # one makes it
                connection.execute(_TABLES)
                connection.execute(
                    "INSERT INTO hive_mtl.store SELECT %s, '', 0, 0 "
                    "WHERE NOT EXISTS (SELECT 1 FROM hive_mtl.store)",
                    (SCHEMA_VERSION,),
                )
        row = connection.execute("SELECT version FROM hive_mtl.store").fetchone()
        if row is None or row[0] != SCHEMA_VERSION:
            version = row[0] if row else "none"
            raise StoreError(
                f"{self.place}: is of version {version}, and this Hive-MTL knows "
                f"{SCHEMA_VERSION}: update hive-mtl"
            )
        connection.execute(
            "SELECT set_config('search_path', 'hive_mtl, ' || "
            "current_setting('search_path'), false)"
        )

    @contextmanager
    def _explaining(self, consequence: str = "") -> Iterator[None]:
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtraError("a store in PostgreSQL", "postgres") from error
        try:
            yield
        except psycopg.Error as error:
            reason = " ".join(str(error).split())
            for password in self._address.passwords:
                reason = reason.replace(password, "***")
            remedy = "check the address, and that the server runs and has pgvector"
            raise StoreError(
                f"{self.place}: the database refuses ({reason}): {remedy}{consequence}"
            ) from error


def _runner(connection: "Connection") -> Run:
    def run(statement: str, *values: object) -> list[tuple[Any, ...]]:
        cursor = connection.execute(statement.replace("?", "%s"), values or None)
        return cursor.fetchall() if cursor.description else []

    return run
