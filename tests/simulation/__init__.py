"""Deterministic simulation of the whole core: one seed is one history of a gateway, its vehicles, sinks, crashes and disk.

``python -m tests.simulation --help`` runs many of them (``make simulate``).
"""
