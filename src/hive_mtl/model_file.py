"""The model file: an ONNX file that carries the digest of its own bytes.

An ONNX file is one protobuf message, whose fields may stand in any order. So an entry of its
metadata may be appended to its bytes, and the last one may hold the SHA-256 of all bytes before it:
writing and checking it takes neither the ``onnx`` package nor the message as a whole.
"""

import hashlib

ONNX_CHECKSUM_KEY = "hive_mtl_sha256"

_METADATA, _KEY, _VALUE = b"\x72", b"\x0a", b"\x12"  # fields 14 of the model, 1 and 2 of an entry


def with_entry(content: bytes, key: str, value: str) -> bytes:
    """The serialised ``content`` of an ONNX file with one more entry in its metadata."""
    entry = _KEY + _with_length(key.encode()) + _VALUE + _with_length(value.encode())
    return content + _METADATA + _with_length(entry)


def seal(content: bytes) -> bytes:
    """The serialised ``content`` of an ONNX file with its digest behind it."""
    return with_entry(content, ONNX_CHECKSUM_KEY, hashlib.sha256(content).hexdigest())


def unseal(file: bytes) -> bytes | None:
    """The content before a digest, whether that is right or wrong; None where there is none."""
    content, tail = file[:-SEAL_BYTES], file[-SEAL_BYTES:]
    return content if tail.startswith(_BEFORE_THE_DIGEST) else None


def is_intact(file: bytes) -> bool:
    """Whether a file is what :func:`seal` made."""
    content = unseal(file)
    return content is not None and seal(content) == file


def _with_length(text: bytes) -> bytes:
    """``text`` behind its length: seven bits a byte, the lowest first, all but the last marked."""
    length, groups = len(text), bytearray()
    while length > 0x7F:
        groups.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*groups, length]) + text


SEAL_BYTES = len(seal(b""))
_BEFORE_THE_DIGEST = seal(b"")[: -2 * hashlib.sha256().digest_size]
