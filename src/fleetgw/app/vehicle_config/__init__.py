"""The configuration that vehicles get from Tesla's API (``fleet_telemetry_config``): made, and checked by the gateway's."""
