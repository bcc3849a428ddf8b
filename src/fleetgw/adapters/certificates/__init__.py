"""Files of certificates and keys: the one reader and the one judge of them."""
