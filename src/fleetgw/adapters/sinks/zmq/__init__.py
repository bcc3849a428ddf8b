"""ZeroMQ: a PUB socket that any number of subscribers connect to; nobody confirms anything."""
