"""Models by address: from `https://…`, `s3://…`, `gs://…` or `hf://…` to a file on this machine."""
