"""Faults for tests: a gateway process, real brokers, vehicles that keep account, and the oracle of every fault."""
