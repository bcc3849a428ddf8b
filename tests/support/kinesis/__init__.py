"""Kinesis for tests: moto behind a stub that makes faults, and what a consumer gets."""
