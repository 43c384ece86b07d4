"""The clinical rules as pure frame functions; ``protocol.py`` applies them in order."""
