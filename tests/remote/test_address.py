"""What is taken for an address, and which name it gives a file."""

from pathlib import Path

import pytest

from y12.errors import AddressError
from y12.remote.address import address_from, file_name, is_address

NAMES = {
    "https://host/best.pt": "best.pt",
    "HTTPS://host:8443/a/b/my%20model.onnx?sig=a/b": "my model.onnx",
    "https://host/%E6%A8%A1.onnx": "模.onnx",
    "https://host/模.onnx": "模.onnx",
    "s3://bucket/runs/7/best.pt": "best.pt",
    "s3://bucket/100%25.pt": "100%25.pt",  # keys are not written in %
    "gs://bucket/best.engine": "best.engine",
    "hf://owner/name/best.pt": "best.pt",
    "hf://owner/name@v1/folder/best.pt": "best.pt",
    "models/best.pt": "models/best.pt",
    "C:/best.pt": "C:/best.pt",
}
REFUSED = {
    "ftp://host/best.pt": "expected an address such as",
    "file:///etc/best.pt": "expected an address such as",
    "s3a://bucket/best.pt": "expected an address such as",
    "https:///best.pt": "expected a host",
    "https://host": "ends in a file's name",
    "https://host/folder/": "ends in a file's name",
    "https://host/..": "ends in a file's name",
    "https://host/%2e%2e": "ends in a file's name",
    "https://host/a%2Fb.pt": "ends in a file's name",
    "https://host/a%00b.pt": "ends in a file's name",
    "https://host/a%1bb.pt": "ends in a file's name",
    "https://host/" + "a" * 201: "ends in a file's name",
    "https://host/a b.pt": "without spaces",
    "https://host\\@other/b.pt": "without spaces",
    "https://host/a\nb.pt": "without spaces",
    "https://host/" + "a/" * 3000: "without spaces",
    "https://user:secret@host/b.pt": "no user or password",
    "https://host:99999/b.pt": "found one that is none",
    "https://[1/b.pt": "found one that is none",
    "https://hôst/b.pt": "a host in plain letters",
    "https://host/b.pt#part": "no # in an address",
    "s3://bucket": "ends in a file's name",
    "s3://bucket/b.pt?versionId=1": "no ? or #",
    "hf://owner/best.pt": "ends in a file's name",
    "hf://owner//best.pt": "ends in a file's name",
}


@pytest.mark.parametrize("source", NAMES)
def test_the_name_is_the_last_part_of_what_was_written(source):
    assert file_name(source) == NAMES[source]
    assert is_address(source) == ("://" in source)


@pytest.mark.parametrize("address", REFUSED)
def test_what_cannot_be_an_address_is_refused_in_one_line(address):
    assert is_address(address)
    with pytest.raises(AddressError) as error:
        address_from(address)
    assert REFUSED[address] in str(error.value)
    assert "secret" not in str(error.value)
    assert str(error.value).isprintable()


def test_a_signature_is_not_shown():
    assert str(address_from("https://host/best.pt?X-Amz-Signature=secret")) == "https://host/best.pt?…"


@pytest.mark.parametrize("path", ["s3", "hf/best.pt", "https:", "a:/b"])
def test_a_path_that_looks_like_the_beginning_of_one_is_a_path(path):
    assert not is_address(Path(path))


def test_an_address_that_was_made_a_path_is_told():
    with pytest.raises(AddressError, match="which has lost a slash: give str"):
        is_address(Path("https://host/best.pt"))
