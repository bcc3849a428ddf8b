"""For people who write adapters: contract-test classes and an in-memory vehicle."""
