"""The one connection of a store that lives in a database: its threads share it, a fork does not."""

import os
from abc import abstractmethod
from threading import RLock
from typing import Any

from hive_mtl.use.stores._base import Store

_inherited: list[Any] = []  # connections from before a fork: a child may neither use nor close them


class ConnectedStore(Store):
    """A store with a connection, made on first use."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._lock = RLock()
        self._connection: Any = None
        self._process = os.getpid()

    def close(self) -> None:
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def _connected(self) -> Any:
        """The connection of this process, made on first use."""
        if self._process != os.getpid():
            if self._connection is not None:
                _inherited.append(self._connection)
            self._connection, self._process = None, os.getpid()
        if self._connection is None:
            self._connection = self._opened()
        return self._connection

    @abstractmethod
    def _opened(self) -> Any:
        """A new connection; makes what is not there yet."""
