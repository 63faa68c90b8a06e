"""Child processes: started so that none is orphaned, watched, stopped in time."""
