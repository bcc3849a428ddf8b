"""The hot path in C; each function names its Python twin, which is its reference."""
