"""Vehicles in: TLS, HTTP upgrade, WebSocket."""
