"""Import: any backbone with its weights becomes a model bundle, untrained."""

from __future__ import annotations

from pathlib import Path

from sbka_milvus.encoders.backbones import BuildRequest, build_backbone
from sbka_milvus.encoders.bundle import BundleNotes, ModelBundle, save_bundle
from sbka_milvus.progress import Progress


def import_model(request: BuildRequest, out: Path, name: str, progress: Progress) -> ModelBundle:
    """Builds a backbone with its pre-trained weights and saves it as a bundle.

    Raises:
        BackboneError: The backbone is unknown, or the weights do not fit it.
        HubUnavailable: The weights are on a hub that cannot be reached.
        BundleError: The bundle cannot be written.
    """
    with progress.stage(f"Loading {request.spec}"):
        built = build_backbone(request)
    for note in built.notes:
        progress.say(note)
    return save_bundle(built.backbone, BundleNotes(name), out)
