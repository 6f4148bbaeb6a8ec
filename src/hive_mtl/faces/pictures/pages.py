"""Pages that need nothing but themselves: their styles and scripts are put inside them."""

from typing import TYPE_CHECKING

from hive_mtl.errors import MissingExtraError

if TYPE_CHECKING:
    from jinja2 import Environment


def environment() -> "Environment":
    """Where the templates of all faces are, each by its path in there.

    Raises:
        MissingExtraError: Jinja is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader
    except ImportError as error:
        raise MissingExtraError("a page", "analysis") from error
    return Environment(
        loader=PackageLoader("hive_mtl.faces", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
