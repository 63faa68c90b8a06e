"""What `gridiron doctor` looks at: in each module, what is read, what reads it, and what judges it.

Judging is pure. Reading changes nothing, and needs no node.
"""
