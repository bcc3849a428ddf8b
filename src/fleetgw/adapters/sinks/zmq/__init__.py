"""The ``zmq`` sink."""
