"""MQTT for tests: a broker in memory, a mosquitto process, what a subscriber gets, and the harness over either."""
