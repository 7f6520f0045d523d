"""A file on the Hugging Face Hub, `hf://owner/name@revision/file`, by the URL and the token that huggingface_hub finds.

The hub is the one that HF_ENDPOINT names. The file itself comes over HTTP as any other does, within the same limits.
"""

from importlib.util import find_spec

from y12.errors import AddressError, MissingPackageError
from y12.remote.address import Address
from y12.remote.http import http_origin
from y12.remote.options import FetchOptions
from y12.remote.reply import Origin
from y12.text import one_line

__all__ = ["hub_origin"]


def hub_origin(address: Address, options: FetchOptions) -> Origin:
    """Return what asks the hub for a file.

    Raises:
        AddressError: the address names no repository.
        MissingPackageError: huggingface_hub is not installed.
    """
    if find_spec("huggingface_hub") is None:
        raise MissingPackageError("huggingface_hub", "remote", "hf://")
    from huggingface_hub import get_token, hf_hub_url

    owner, repository, file = address.rest.split("/", 2)
    repository, _, revision = repository.partition("@")
    try:
        url = hf_hub_url(f"{owner}/{repository}", file, revision=revision or None)
    except ValueError as error:  # of huggingface_hub's own kind
        raise AddressError(f"{address}: expected hf://owner/name/file ({one_line(str(error), 200)})") from error
    token = get_token()
    return http_origin(str(address), url, options, {"Authorization": f"Bearer {token}"} if token else {})
