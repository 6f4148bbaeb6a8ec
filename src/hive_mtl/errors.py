"""The errors of Hive-MTL: one small tree.

Every message is one line that says what is wrong, where, and what to do about it. The faces print
``str(error)`` and stop with exit status 2; nothing else in the package prints an error or exits.
"""


class HiveError(Exception):
    """A problem that the user can act on. ``str(error)`` is one line: what, where, what to do."""


class AudioError(HiveError):
    """A recording cannot be read, or holds nothing that could be embedded."""


class DataError(HiveError):
    """A table, corpus, trial list or folder of recordings is not as it should be."""


class ConfigError(HiveError):
    """A recipe, an option or a name (of a task, trunk, loss ...) is not known or not allowed."""


class ModelError(HiveError):
    """A model file or checkpoint cannot be loaded, or does not fit what is asked of it."""


class StoreError(HiveError):
    """A store of enrolled voices cannot be opened, read or written."""


class VoiceError(HiveError):
    """An enrolled voice: its name is taken, unknown or not allowed, or it would be two people's."""


class MissingExtraError(HiveError):
    """A feature needs packages that the base install leaves out."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs more packages: pip install 'hive-mtl[{extra}]'")


class EmbeddingError(HiveError):
    """One recording of many could not be embedded; stands in its place in the list of results.

    Attributes:
        source: the recording as it was given (a path, or a short description of an array).
        reason: one line, without the source.
    """

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason

    def __reduce__(self) -> tuple[type["EmbeddingError"], tuple[str, str]]:
        return (EmbeddingError, (self.source, self.reason))
