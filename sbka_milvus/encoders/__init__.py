"""Backbones (open_clip, timm), SBKA's student and teacher, the model bundle, and the encoder that serves it.

Import from the modules: ``backbones``, ``spec``, ``sbka``, ``bundle``, ``encoder``.
Nothing is loaded here, because every one of them needs torch.
"""
