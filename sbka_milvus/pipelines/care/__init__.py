"""Taking care of a gallery: how it stands, whether it is sound, and its way in and out of other programs."""
