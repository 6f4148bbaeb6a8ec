"""The one connection of a store that lives in a database: threads share it, a fork has its own.

No connection may cross a fork. SQLite keeps by process what it has locked: a child would inherit
that record without the locks and take none, and whoever closes the file last would take the log
away under it. Both sides of a fork would talk to PostgreSQL over one line. Nor may a lock cross it
that a thread holds, since the child lacks that thread. So a fork waits until no call is under way
and closes all connections; each side makes its own on next use.

Where Ctrl-C ends that wait, Python forks all the same. In the child, a store whose call was under
way then refuses, and another of the same file is not safe.
"""

# Its hook takes a lock at a fork that pools need to start threads, and so may a call that the fork
# waits for. The hook registered below comes later, and therefore runs first.
import concurrent.futures.thread  # noqa: F401
import os
from abc import abstractmethod
from threading import Lock, RLock, local
from typing import Any
from weakref import WeakSet

from hive_mtl.errors import StoreError
from hive_mtl.use.stores._base import Store


class ConnectedStore(Store):
    """A store with a connection, made on first use."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._lock = RLock()
        self._connection: Any = None
        self._of_parent: Any = None  # a connection that crossed a fork; kept, never to be closed
        _forks.tell(self)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def hold(self, wait: bool) -> bool:
        """Keeps calls of other threads out; without waiting, only if none is under way."""
        return self._lock.acquire(blocking=wait)

    def release(self) -> None:
        """Ends one :meth:`hold`."""
        self._lock.release()

    def begin_in_child(self) -> None:
        """Leaves behind what the threads of the parent held."""
        self._lock = RLock()
        self._of_parent = self._of_parent or self._connection
        self._connection = None

    def _connected(self) -> Any:
        """The connection of this process, made on first use."""
        if self._of_parent is not None:
            raise StoreError(
                f"{self.place}: this process was forked while a call was under way: use the store "
                "in another process"
            )
        if self._connection is None:
            self._connection = self._opened()
        return self._connection

    @abstractmethod
    def _opened(self) -> Any:
        """A new connection; makes what is not there yet."""


class _Held(local):
    """What a thread that forks has to release."""

    def __init__(self) -> None:
        self.stores: list[ConnectedStore] = []
        self.beginning = False  # whether no store may begin


class _Forks:
    """Has every store held while the process forks."""

    def __init__(self) -> None:
        self._stores: WeakSet[ConnectedStore] = WeakSet()
        self._held = _Held()
        self._beginning = Lock()  # held by a store that begins, and while the process forks
        if hasattr(os, "register_at_fork"):  # else it cannot fork
            os.register_at_fork(
                before=self._before,
                after_in_parent=self._let_go,
                after_in_child=self._after_in_child,
            )

    def tell(self, store: ConnectedStore) -> None:
        with self._beginning:
            self._stores.add(store)

    def _before(self) -> None:
        try:
            self._hold_all()
        finally:  # also where Ctrl-C has ended the wait
            for store in self._held.stores:
                store.close()

    def _hold_all(self) -> None:
        """Waits for one store at a time, holding no other, which its call may wait for."""
        busy = self._hold_idle()
        while busy is not None:
            self._let_go()
            try:
                busy.hold(wait=True)
            except BaseException:
                self._hold_idle()
                raise
            waited_for = busy
            try:
                busy = self._hold_idle()
            finally:
                waited_for.release()

    def _hold_idle(self) -> ConnectedStore | None:
        """Holds all stores but those that other threads use; gives one of these."""
        self._beginning.acquire()
        self._held.beginning = True
        busy = None
        for store in self._stores:
            if store.hold(wait=False):
                self._held.stores.append(store)
            else:
                busy = store
        return busy

    def _let_go(self) -> None:
        while self._held.stores:
            self._held.stores.pop().release()
        if self._held.beginning:
            self._held.beginning = False
            self._beginning.release()

    def _after_in_child(self) -> None:
        for store in self._stores:
            store.begin_in_child()
        self._held = _Held()
        self._beginning = Lock()


_forks = _Forks()
