"""The bucket that the nodes of a cluster share, and what a node does alone by it."""
