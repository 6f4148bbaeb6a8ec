"""Pages that need nothing but themselves: their styles and scripts are put inside them.

``base.html`` is what they all have in common, ``look.css`` how they look.
"""

from typing import TYPE_CHECKING

from hive_mtl.errors import MissingExtraError

if TYPE_CHECKING:
    from jinja2 import Environment


def environment() -> "Environment":
    """Where all templates are, each by its path in the package.

    Raises:
        MissingExtraError: Jinja is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader
    except ImportError as error:
        raise MissingExtraError("a page", "analysis") from error
    return Environment(
        loader=PackageLoader("hive_mtl", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
