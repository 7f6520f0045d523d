"""The losses of each kind of head, put together from `exporter.train.losses`."""
