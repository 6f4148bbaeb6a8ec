"""The one connection of a store that lives in a database: its threads share it, a fork does not.

No connection may cross a fork. SQLite keeps by process what it has locked: a child would inherit
that record without the locks and take none, and whoever closes the file last would take the log
away under it. Both sides of a fork would talk to PostgreSQL over one line. Nor may a lock cross it
that a thread holds, since the child lacks that thread. So a fork waits until no call is under way
and lets go of all connections; each side makes its own on next use.
"""

# Its hook takes a lock at a fork that pools need to start threads, and so may a call that the fork
# waits for. The hook registered below comes later, and therefore runs first.
import concurrent.futures.thread  # noqa: F401
import os
from abc import abstractmethod
from threading import Lock, RLock
from typing import Any
from weakref import WeakSet

from hive_mtl.use.stores._base import Store


class ConnectedStore(Store):
    """A store with a connection, made on first use."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._lock = RLock()
        self._connection: Any = None
        _forks.tell(self)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def hold(self) -> None:
        """Waits until no call is under way, lets go of the connection and keeps new calls out."""
        self._lock.acquire()
        self.close()

    def release(self) -> None:
        """Ends :meth:`hold`."""
        self._lock.release()

    def release_in_child(self) -> None:
        """Likewise, where the threads that wait for the lock are not."""
        self._lock = RLock()

    def _connected(self) -> Any:
        """The connection of this process, made on first use."""
        if self._connection is None:
            self._connection = self._opened()
        return self._connection

    @abstractmethod
    def _opened(self) -> Any:
        """A new connection; makes what is not there yet."""


class _Forks:
    """Has every store held while the process forks."""

    def __init__(self) -> None:
        self._stores: WeakSet[ConnectedStore] = WeakSet()
        self._held: list[ConnectedStore] = []
        self._lock = Lock()  # no store begins while the process forks
        if hasattr(os, "register_at_fork"):  # else it cannot fork
            os.register_at_fork(
                before=self._before,
                after_in_parent=self._after_in_parent,
                after_in_child=self._after_in_child,
            )

    def tell(self, store: ConnectedStore) -> None:
        with self._lock:
            self._stores.add(store)

    def _before(self) -> None:
        self._lock.acquire()
        self._held = list(self._stores)
        for store in self._held:
            store.hold()

    def _after_in_parent(self) -> None:
        for store in self._held:
            store.release()
        self._held = []
        self._lock.release()

    def _after_in_child(self) -> None:
        for store in self._held:
            store.release_in_child()
        self._held = []
        self._lock = Lock()


_forks = _Forks()
