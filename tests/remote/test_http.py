"""Models over HTTP, from servers as they are: good ones, slow ones, broken ones and hostile ones."""

import gzip
import hashlib
import threading

import pytest

from tests.remote import site as pages
from tests.remote.conftest import kept_files
from y12.errors import AddressError, OptionsError
from y12.remote.local import local_path
from y12.remote.options import FetchOptions

CONTENT = bytes(range(256)) * 800  # 204,800 bytes
OTHER = bytes(reversed(CONTENT))
HASH = hashlib.sha256(CONTENT).hexdigest()
PART = ["part", "part.json"]
GIB10 = 10 << 30


def refusal(address, **options):
    """Return the one line that is said of an address."""
    with pytest.raises(AddressError) as error:
        local_path(address, FetchOptions(**options))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_is_fetched_once_and_kept_by_address_and_hash(site, cache):
    address = site.at("/folder/best.pt", pages.good(CONTENT))
    told = []
    path = local_path(address, advance=lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert path.name == "best.pt"
    assert (path.parent.name, path.is_relative_to(cache)) == (HASH, True)
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert (cache.stat().st_mode | path.parent.stat().st_mode) & 0o077 == 0
    assert local_path(address) == path
    assert [headers.get("If-None-Match") for _, headers in site.asked] == [None, pages.ETAG]
    assert {headers["Accept-Encoding"] for _, headers in site.asked} == {"identity"}
    assert kept_files(cache) == ["best.pt"]


def test_what_has_changed_is_fetched_again_and_the_former_is_still_had_by_its_hash(site):
    address = site.at("/best.pt", pages.good(CONTENT))
    first = local_path(address)
    site.at("/best.pt", pages.good(OTHER, etag='"two"'))
    assert local_path(address).read_bytes() == OTHER
    asked = len(site.asked)
    assert local_path(address, FetchOptions(sha256=HASH)) == first
    assert len(site.asked) == asked


def test_a_given_hash_needs_no_server_the_second_time_and_is_refused_when_it_is_another(site, cache):
    address = site.at("/best.pt", pages.good(OTHER))
    found = hashlib.sha256(OTHER).hexdigest()
    assert refusal(address, sha256=HASH) == (
        f"{address}: expected sha256 {HASH}, found {found}: another file, which is not opened"
    )
    assert kept_files(cache) == []
    local_path(address, FetchOptions(sha256=found.upper()))
    site.at("/best.pt", pages.missing)
    assert local_path(address, FetchOptions(sha256=found)).read_bytes() == OTHER


def test_a_hash_is_held_against_a_local_file_too(tmp_path):
    path = tmp_path / "best.pt"
    path.write_bytes(OTHER)
    assert refusal(path, sha256=HASH).startswith(f"{path}: expected sha256 {HASH}")
    path.write_bytes(CONTENT)
    assert local_path(path, FetchOptions(sha256=HASH)) == path


def test_offline_takes_what_is_kept_and_asks_nobody(site):
    address = site.at("/best.pt", pages.good(CONTENT))
    assert "found none; drop --offline" in refusal(address, offline=True)
    assert site.asked == []
    path = local_path(address)
    assert local_path(address, FetchOptions(offline=True)) == path
    assert len(site.asked) == 1
    assert f"with sha256 {'0' * 64}" in refusal(address, offline=True, sha256="0" * 64)


def test_a_kept_file_that_is_damaged_is_fetched_again(site, caplog):
    address = site.at("/best.pt", pages.good(CONTENT))
    path = local_path(address)
    path.write_bytes(OTHER)
    assert "found none" in refusal(address, offline=True)
    assert "is damaged" in caplog.text
    assert local_path(address).read_bytes() == CONTENT


def test_a_cache_that_others_can_write_to_is_refused(site, cache):
    address = site.at("/best.pt", pages.good(CONTENT))
    local_path(address)
    cache.chmod(0o777)
    assert "others can write to it" in refusal(address)
    assert "others can write to it" in refusal(address, offline=True)


def test_a_broken_transfer_goes_on_by_itself_where_it_was(site):
    address = site.at("/best.pt", pages.breaking(CONTENT, 50_000, times=3))
    assert local_path(address).read_bytes() == CONTENT
    assert site.ranges() == [None, "bytes=50000-", "bytes=100000-", "bytes=150000-"]
    assert site.asked[1][1]["If-Range"] == pages.ETAG


def test_what_is_given_up_is_told_and_the_next_command_goes_on(site, cache):
    address = site.at("/best.pt", pages.breaking(CONTENT, 30_000, times=1))
    good_again = site.pages["/best.pt"]

    def then_nothing(handler):
        good_again(handler)
        site.pages["/best.pt"] = pages.raw(503)

    site.pages["/best.pt"] = then_nothing
    assert refusal(address) == (
        f"{address}: broken off after 30000 bytes (the server says 503 Service Unavailable); the same command goes on "
        "from there"
    )
    assert kept_files(cache) == PART
    site.at("/best.pt", pages.good(CONTENT))
    assert local_path(address).read_bytes() == CONTENT
    assert site.ranges()[-1] == "bytes=30000-"
    assert kept_files(cache) == ["best.pt"]


def test_a_rest_is_not_put_behind_another_file_s_beginning(site):
    """The file was changed between two transfers: If-Range has the server send all of the new one."""
    address = site.at("/best.pt", pages.breaking(CONTENT, 30_000))
    breaking = site.pages["/best.pt"]

    def once(handler):
        breaking(handler)
        site.at("/best.pt", pages.good(OTHER, etag='"two"'))

    site.pages["/best.pt"] = once
    assert local_path(address).read_bytes() == OTHER


@pytest.mark.parametrize(("sha256", "ranges"), [(None, [None, None]), (HASH, [None, "bytes=30000-"])])
def test_without_a_validator_only_a_hash_lets_a_transfer_go_on(site, sha256, ranges):
    address = site.at("/best.pt", pages.breaking(CONTENT, 30_000, times=1, etag=None))
    assert local_path(address, FetchOptions(sha256=sha256)).read_bytes() == CONTENT
    assert site.ranges() == ranges


def test_where_parts_are_refused_it_is_begun_again(site):
    address = site.at("/best.pt", pages.without_ranges(CONTENT, each=70_000))
    assert local_path(address).read_bytes() == CONTENT
    assert site.ranges() == [None, "bytes=70000-"]


def test_a_rest_that_the_server_does_not_have_is_begun_again(site):
    def page(handler):
        if handler.headers.get("Range"):
            return handler.head(416, Content_Length=0)
        pages.breaking(CONTENT, 30_000, times=len(site.asked) == 1)(handler)

    assert local_path(site.at("/best.pt", page)).read_bytes() == CONTENT
    assert site.ranges() == [None, "bytes=30000-", None]


def packed(handler):
    body = gzip.compress(CONTENT)
    handler.head(200, Content_Length=len(body), Content_Encoding="gzip")
    handler.wfile.write(body)


def to(location, status=302):
    return pages.raw(status, Location=location)


BAD = {  # what a server does; what is said of it; what is left in the cache
    "cut off": (pages.breaking(CONTENT, 0, etag=None), "found no way to it (it should have 204800)", PART),
    "longer than it is": (pages.raw(200, CONTENT, Content_Length=GIB10 // 8), "it should have 1342177280)", PART),
    "empty": (pages.raw(200, Content_Length=0), "expected a file, found 0 bytes", []),
    "gzip": (packed, "found them packed by the server ('gzip')", []),
    "10 GiB": (pages.raw(200, Content_Length=GIB10), f"expected at most {2 << 30} bytes, found {GIB10}", []),
    "no length": (pages.chunked(CONTENT), "expected a server that says how long the file is", []),
    "endless": (pages.endless, "expected a server that says how long the file is", []),
    "two lengths": (pages.raw(200, CONTENT, Content_Length="5, 6"), "says how long the file is", []),
    "a length below nothing": (pages.raw(200, CONTENT, Content_Length=-5), "says how long the file is", []),
    "a loop": (to("/bad.pt"), "found more than 5 redirects in a row", []),
    "to a file": (to("file:///etc/passwd"), "found a redirect to 'file:///etc/passwd'", []),
    "to ftp": (to("ftp://127.0.0.1/bad.pt"), "found a redirect to 'ftp://127.0.0.1/bad.pt'", []),
    "to https": (to("https://127.0.0.1/bad.pt"), "expected http:// all the way, found a redirect to", []),
    "to nowhere": (to("http://[1/bad.pt"), "expected http:// all the way, found a redirect to", []),
    "to no host": (to(f"http://{'a' * 70}.org/bad.pt"), "found http:// to aaa", []),
    "to another machine": (to("http://example.org/bad.pt"), "found http:// to example.org", []),
    "not found": (pages.missing, "found that the server says 404 Not Found", []),
    "forged words": (lambda h: h.wfile.write(b"HTTP/1.1 500 \x1b[2J\r\n\r\n") and h.hang_up(), "says 500 \\x1b[2J", []),
    "another part": (pages.raw(206, b"x", Content_Range="bytes 5-5/9"), "found another part of it", []),
    "unasked 304": (pages.raw(304), "found that the server says 304", []),
    "no HTTP": (lambda h: h.wfile.write(b"\0\1\2" * 100) and h.hang_up(), "found no way to it", []),
    "busy": (pages.raw(503), "found no way to it (the server says 503", []),
    "silent": (pages.silent, "found no way to it (the server is silent)", []),
    "slow": (pages.slow(CONTENT[:60], 0.05), " bytes in ", PART),  # all of it would take three seconds
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_server_is_one_line_and_leaves_a_resumable_part_at_most(site, cache, bad):
    page, said, left = BAD[bad]
    address = site.at("/bad.pt", page)
    assert said in refusal(address, timeout_s=0.3)
    assert kept_files(cache) == left


def test_what_has_no_length_is_taken_by_its_hash_and_within_the_limit(site, cache):
    address = site.at("/best.pt", pages.chunked(CONTENT))
    assert local_path(address, FetchOptions(sha256=HASH)).read_bytes() == CONTENT
    endless = site.at("/endless.pt", pages.endless)
    told = []
    with pytest.raises(AddressError, match="expected at most 300000 bytes, found more"):
        local_path(endless, FetchOptions(sha256=HASH, max_bytes=300_000), lambda done, total: told.append(done))
    assert max(told) <= 300_000
    assert kept_files(cache) == ["best.pt"]


def test_a_wrong_rest_is_refused(site):
    address = site.at("/best.pt", pages.breaking(CONTENT, 30_000, times=1))
    first = site.pages["/best.pt"]

    def page(handler):
        if handler.headers.get("Range"):
            body = CONTENT[20_000:]
            handler.head(206, Content_Length=len(body), Content_Range=f"bytes 20000-{len(CONTENT) - 1}/{len(CONTENT)}")
            handler.wfile.write(body)
        else:
            first(handler)

    site.pages["/best.pt"] = page
    assert "expected the file from byte 30000 on, found another part of it ('bytes 20000-" in refusal(address)


def test_a_server_s_words_on_name_and_kind_are_looked_at_nowhere(site, cache):
    headers = {"Content_Type": "text/html", "Content_Disposition": 'attachment; filename="../../evil.sh"'}
    site.at("/there/other.exe", pages.good(CONTENT, **headers))
    path = local_path(site.at("/best.pt", to("/there/other.exe")))
    assert (path.name, path.read_bytes()) == ("best.pt", CONTENT)
    assert kept_files(cache) == ["best.pt"]


def test_redirects_are_followed_and_what_is_for_one_host_is_told_to_no_other(site):
    from y12.remote.http import http_origin
    from y12.remote.reply import Have

    with pages.Site().open() as other:
        there = other.at("/best.pt", pages.good(CONTENT))
        site.at("/a.pt", to("/b.pt", 307))
        address = site.at("/a.pt", to("/b.pt"))
        site.at("/b.pt", to(there, 308))
        origin = http_origin(address, address, FetchOptions(), {"Authorization": "Bearer secret"})
        with origin(Have()) as reply:
            assert b"".join(reply.chunks) == CONTENT
        assert [headers.get("Authorization") for _, headers in site.asked] == ["Bearer secret"] * 2
        assert [headers.get("Authorization") for _, headers in other.asked] == [None]


def test_https_is_spoken_and_never_left(site, tls_site, monkeypatch):
    address = tls_site.at("/best.pt", pages.good(CONTENT))
    assert local_path(address).read_bytes() == CONTENT
    plain = site.at("/best.pt", pages.good(CONTENT))
    assert "expected https:// all the way, found a redirect to" in refusal(tls_site.at("/down.pt", to(plain)))
    assert site.asked == []
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "certificate" in refusal(tls_site.at("/unknown.pt", pages.good(CONTENT)))


@pytest.mark.parametrize("host", ["example.org", "10.0.0.1", "127.0.0.1.example.org", "localhost.example.org", "[::2]"])
def test_plain_http_beyond_this_machine_is_refused(host):
    assert "--plain-http allows it" in refusal(f"http://{host}/best.pt")


def test_two_that_fetch_at_a_time_ask_for_the_bytes_once(site):
    address = site.at("/best.pt", pages.paced(CONTENT, 800_000))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(local_path(address, FetchOptions(sha256=HASH)))) for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert len(site.asked) == 1


def test_what_was_not_used_for_longest_gives_way(site, monkeypatch):
    import os

    from y12.remote import cache as room

    first, second = (local_path(site.at(f"/{name}.pt", pages.good(CONTENT + name))) for name in (b"a", b"b"))
    os.utime(first, (1, 1))
    monkeypatch.setattr(room, "MAX_CACHE_BYTES", 2 * len(CONTENT) + 10)
    third = local_path(site.at("/c.pt", pages.good(CONTENT + b"c")))
    assert [path.exists() for path in (first, second, third)] == [False, True, True]


@pytest.mark.parametrize("hash_", ["", "abc", "g" * 64, HASH + "0"])
def test_a_hash_that_is_none_is_refused(hash_):
    with pytest.raises(OptionsError, match="--sha256: expected 64 hexadecimal digits"):
        FetchOptions(sha256=hash_)
