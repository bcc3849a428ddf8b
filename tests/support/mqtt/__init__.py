"""MQTT for tests: a broker in memory, a mosquitto process, a subscriber, and the harness over either broker."""
