"""Kinesis for tests: moto, a stub that injects faults, a consumer."""
