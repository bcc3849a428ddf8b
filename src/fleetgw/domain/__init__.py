"""The pure core: no Twisted, no protobuf, no sockets, no clock, no files."""
