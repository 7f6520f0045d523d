"""As much of three storage services as their own client packages ask of them, to be served by a `Site`."""

import json
from email.utils import formatdate
from urllib.parse import unquote


def s3_object(content, etag='"s3-one"', breaks=()):
    """Answer HEAD and GET of an object; each part that begins at one of `breaks` is broken off, once."""
    left = list(breaks)
    modified = formatdate(1_790_000_000, usegmt=True)

    def page(handler):
        start, end = 0, len(content) - 1
        if asked := handler.headers.get("Range"):
            start, end = (int(number) for number in asked.removeprefix("bytes=").split("-"))
            end = min(end, len(content) - 1)
        if handler.headers.get("If-Match", etag) != etag:
            return handler.head(412, Content_Length=0)
        given = {"ETag": etag, "Last_Modified": modified, "Accept_Ranges": "bytes"}
        if asked:
            given["Content_Range"] = f"bytes {start}-{end}/{len(content)}"
        handler.head(206 if asked else 200, Content_Length=end + 1 - start, **given)
        if handler.command == "HEAD":
            return None
        if start in left:
            left.remove(start)
            return handler.hang_up()
        handler.wfile.write(content[start : end + 1])

    return page


def gs_object(bucket, name, content, etag="gs-one"):
    """Answer what is told of an object, and its parts."""

    def page(handler):
        path = unquote(handler.path.partition("?")[0])
        if "/download/" not in path:
            told = {"kind": "storage#object", "name": name, "bucket": bucket, "size": str(len(content)), "etag": etag}
            body = json.dumps(told | {"generation": "1", "updated": "2026-11-30T00:00:00Z"}).encode()
            handler.head(200, Content_Length=len(body), Content_Type="application/json")
            return handler.wfile.write(body)
        start, end = 0, len(content) - 1
        if asked := handler.headers.get("Range"):
            start, end = (int(number) for number in asked.removeprefix("bytes=").split("-"))
            end = min(end, len(content) - 1)
        handler.head(206, Content_Length=end + 1 - start, Content_Range=f"bytes {start}-{end}/{len(content)}")
        handler.wfile.write(content[start : end + 1])

    return page
