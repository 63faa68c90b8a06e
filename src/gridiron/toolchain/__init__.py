"""The programs that Gridiron drives: where they are, in which version, and how they are installed."""
