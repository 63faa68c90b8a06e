"""Who may ask the manager for what, what was asked, and how its connections are kept from others' eyes."""
