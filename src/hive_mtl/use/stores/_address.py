"""The address of a PostgreSQL database, and what messages may show of it.

It is read strictly: a password with a character in it that ends it would else be shown in part, as
a host, a database or an option.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from hive_mtl.errors import StoreError

_OPTIONS = (  # the keywords of libpq
    "application_name channel_binding client_encoding connect_timeout dbname "
    "fallback_application_name gssdelegation gssencmode gsslib host hostaddr keepalives "
    "keepalives_count keepalives_idle keepalives_interval krbsrvname load_balance_hosts "
    "max_protocol_version min_protocol_version oauth_client_id oauth_client_secret oauth_issuer "
    "oauth_scope options passfile password port replication require_auth requirepeer "
    "scram_client_key scram_server_key service servicefile ssl ssl_max_protocol_version "
    "ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey "
    "sslkeylogfile sslmode sslnegotiation sslpassword sslrootcert sslsni target_session_attrs "
    "tcp_user_timeout user"
)
_SECRET = "oauth_client_secret passfile password scram_client_key scram_server_key sslpassword"
_HOST = r"(?:\[[^/?#@\[\]]*\]|[^:,/?#@\[\]]*)(?::\d*)?"
# The value me@host/db is rather the end of an address whose password has a ? in it.
_OPTION = r"[a-z_]+=(?:[^&?#@]*|[^&?#/]*)"
_PLAIN = re.compile(
    r"(?:(?P<user>[^:/?#@\[\]]*)(?::(?P<password>[^/?#@\[\]]*))?@)?"
    rf"(?P<place>{_HOST}(?:,{_HOST})*(?:/[^/?#@\[\]]*)?)"
    rf"(?:\?(?P<options>{_OPTION}(?:&{_OPTION})*)?)?"
)


@dataclass(frozen=True, slots=True)
class Address:
    """An address as messages may show it, and the passwords that they may not show."""

    shown: str
    passwords: frozenset[str] = field(repr=False)


def read_address(url: str) -> Address:
    """Tells the secrets of an address from the rest.

    Raises:
        StoreError: it is none, or may hold a password that is not escaped.
    """
    scheme, _, rest = url.partition("://")
    found = _PLAIN.fullmatch(rest)
    given = (found and found["options"]) or ""
    options = [tuple(each.split("=", 1)) for each in given.split("&") if each]
    known = {key for key, _ in options} <= set(_OPTIONS.split())
    if found is None or not rest.isprintable() or not known:
        raise StoreError(
            "the store's address cannot be read: give postgresql://USER@HOST/DATABASE, with "
            "PostgreSQL's own options after a ?, and any of /?#[]@ in a name or a password as an "
            "address has it, / as %2F and so on"
        )
    secret = set(_SECRET.split())
    user = "" if found["user"] is None else f"{found['user']}@"
    shown = "&".join(f"{key}={value}" for key, value in options if key not in secret)
    secrets = [found["password"] or "", *(value for key, value in options if key in secret)]
    return Address(
        f"{scheme}://{user}{found['place']}{'?' if shown else ''}{shown}",
        frozenset(form for each in secrets if each for form in (each, unquote(each))),
    )
