"""Files of certificates and keys: reading, checks, and TLS clients that use them."""
