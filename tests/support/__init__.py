"""Helpers that the tests share: harnesses, brokers, vehicles. None is shipped."""
