"""What is measured, and what it is measured against: a node, and the baselines."""
