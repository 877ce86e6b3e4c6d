"""Use cases, one a module, told from top to bottom; what they need comes as arguments."""
