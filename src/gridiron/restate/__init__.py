"""The only code that talks to Restate."""
