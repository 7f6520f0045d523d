"""A page to try a model: `y12-serve` shows it, and `y12-bundle web` writes it as a folder that needs no server.

`index.html` and `static/` are the page; `contents.py` says which model it is about, `router.py` answers with both.
"""
