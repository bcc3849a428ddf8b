"""Checks for the doctor and the commands: in a thread, of the network, of certificates, of the public address."""
