"""An address in place of a file: what it may look like, and the name that it gives the file.

    https://host/folder/best.pt     s3://bucket/folder/best.pt     gs://bucket/folder/best.pt
    hf://owner/name/best.pt         hf://owner/name@revision/folder/best.pt

The name is the last part of the address, as the user wrote it. What a server says of a name is looked at nowhere.
"""

from dataclasses import dataclass
from os import PathLike, fspath
from urllib.parse import unquote, urlsplit

from y12.errors import AddressError
from y12.text import shown

__all__ = ["SCHEMES", "Address", "address_from", "file_name", "is_address", "unsigned"]

SCHEMES = ("https", "http", "s3", "gs", "hf")
LONGEST = 4096  # characters; a signed address has some hundred
_LONGEST_NAME = 200  # bytes, of the 255 that file systems take
_FORMS = "https://host/best.pt, s3://bucket/best.pt, gs://bucket/best.pt or hf://owner/name/best.pt"


@dataclass(frozen=True)
class Address:
    """Where a file is.

    Attributes:
        scheme: one of `SCHEMES`.
        text: the whole address.
        name: the file's, which is safe as a file's name here.
    """

    scheme: str
    text: str
    name: str

    @property
    def rest(self) -> str:
        """What stands behind the scheme."""
        return self.text.partition("://")[2]

    def __str__(self) -> str:
        """Return it without what may be a signature in it, for messages."""
        return unsigned(self.text)


def is_address(source: str | PathLike[str]) -> bool:
    """Return whether what was given in place of a file is an address.

    Raises:
        AddressError: it was one, before it was made a path.
    """
    text = fspath(source)
    scheme, mark, _ = text.partition("://")
    before, slash, _ = text.partition(":/")
    if slash and not mark and not isinstance(source, str) and before.lower() in SCHEMES:
        raise AddressError(
            f"expected an address as text, found the path {shown(text)}, which has lost a slash: give str"
        )
    is_word = scheme.isascii() and scheme[:1].isalpha() and all(c.isalnum() or c in "+.-" for c in scheme)
    return bool(mark) and is_word and len(scheme) > 1


def unsigned(text: str) -> str:
    """Return a text without what stands behind the ? of addresses in it, which may be a signature.

    >>> unsigned("--weights=https://host/best.pt?X-Amz-Signature=secret")
    '--weights=https://host/best.pt?…'
    """
    import re  # to compile a pattern takes longer than all else here

    return re.sub(r"(https?://[^?\s]*)\?\S*", r"\1?…", text, flags=re.IGNORECASE)


def address_from(text: str) -> Address:
    """Read an address.

    Raises:
        AddressError: it is of another kind, or cannot be one, or does not end in a file's name.
    """
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        raise AddressError(
            f"expected an address such as {_FORMS}, found {shown(text)}; a file here is given by its path"
        )
    if len(text) > LONGEST or not text.isprintable() or " " in text or "\\" in text:
        raise AddressError(
            f"{shown(text)}: expected an address without spaces, \\ and what cannot be seen: write it in %"
        )
    if scheme in ("http", "https"):
        path = _path_of_url(text)
    elif "?" in rest or "#" in rest:
        raise AddressError(f"{shown(text)}: expected no ? or # in an address of {scheme}://")
    else:
        path = rest
    least = 2 if scheme == "hf" else 1  # slashes before the file's own name
    folder, _, last = path.rpartition("/")
    name = unquote(last) if scheme in ("http", "https") else last
    if not _is_name(name) or (scheme not in ("http", "https") and len([*filter(None, folder.split("/"))]) < least):
        raise AddressError(f"{shown(text)}: expected an address that ends in a file's name, such as {_FORMS}")
    return Address(scheme, f"{scheme}://{rest}", name)


def file_name(source: str) -> str:
    """Return the name, with its ending, that a file has or that its address gives it.

    Raises:
        AddressError: it is an address that cannot be one.
    """
    return address_from(source).name if is_address(source) else source


def _path_of_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise AddressError(f"{shown(text)}: expected an address, found one that is none ({error})") from error
    if not host or not host.isascii():
        raise AddressError(f"{shown(text)}: expected a host in plain letters (other ones are written xn--…)")
    if parts.username is not None or parts.password is not None:
        # in the report it would be passed on
        raise AddressError(
            f"{parts.scheme}://…@{host}: expected no user or password in an address: take them out of it"
        )
    if parts.fragment:
        raise AddressError(f"{shown(text)}: expected no # in an address; --sha256 takes a file's hash")
    return parts.path


def _is_name(name: str) -> bool:
    is_plain = name.isprintable() and "/" not in name and name not in ("", ".", "..")
    return is_plain and len(name.encode("utf-8", "surrogatepass")) <= _LONGEST_NAME
