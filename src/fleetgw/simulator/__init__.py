"""A fleet of simulated vehicles: certificates, drives, and a client that speaks the protocol."""
