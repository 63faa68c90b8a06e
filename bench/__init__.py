"""The benchmarks: measures of a real node against baselines of the same run. `python -m bench --help`."""
