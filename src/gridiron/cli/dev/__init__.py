"""`gridiron dev`: what is saved is live at once. `loop.py` joins the parts."""
