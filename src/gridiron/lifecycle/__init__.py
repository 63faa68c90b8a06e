"""States and plans: pure functions of an observation and a time."""
