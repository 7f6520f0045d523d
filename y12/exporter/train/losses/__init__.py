"""The losses of each kind of head, put together from `y12.exporter.train.losses.terms`."""
