"""The control socket of a running gateway: commands for a folder that the gateway has locked."""
