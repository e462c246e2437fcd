"""The runtime of Python services: what is between the language and the cell. Services have no use for it."""
