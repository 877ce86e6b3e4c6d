"""Where photos come from beside files and folders: archives, manifests, addresses."""
