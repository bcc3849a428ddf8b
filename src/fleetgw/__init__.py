"""fleetgw: a gateway that connected vehicles stream telemetry into."""
