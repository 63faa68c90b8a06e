"""The identity of Restate: the key that it signs its requests with, and the keys that the cells accept."""
