"""The ``sqlite`` sink, and a reader of its file. The package imports nothing, so that readers work without Twisted."""
