"""Where records go; each sink provides ``IDispatcher``."""
