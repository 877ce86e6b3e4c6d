"""SBKA training: losses, sampler, augmentation, class semantics, the task (batch -> named losses), the trainer.

Import from the modules; nothing is loaded here, because they need torch.
"""
