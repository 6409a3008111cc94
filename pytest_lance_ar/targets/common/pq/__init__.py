"""Product quantizers: everything but the distance, which is the target's."""
