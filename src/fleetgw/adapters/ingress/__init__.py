"""Connections of vehicles: TLS, HTTP upgrade, WebSocket frames, deadlines."""
