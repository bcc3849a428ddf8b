"""Reports of errors to services beside the log: Airbrake, and a null adapter."""
