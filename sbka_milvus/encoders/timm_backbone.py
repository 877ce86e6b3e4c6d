"""Backbones of timm: any image classifier with pooled features."""

from __future__ import annotations

import re
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save
from timm.data.config import resolve_model_data_config
from torch import nn

from sbka_milvus.encoders.additions import add, split_options
from sbka_milvus.encoders.backbones import Backbone, BuildRequest, BuiltBackbone
from sbka_milvus.encoders.hub import explain_hub_failure
from sbka_milvus.encoders.knowledge import TENSORFLOW_CLASSES, KnowledgeHead
from sbka_milvus.encoders.levels import LEVELS, keep_levels, pool_level
from sbka_milvus.encoders.preprocessing import Preprocessing
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.encoders.start import read_start
from sbka_milvus.encoders.weights import read_weights
from sbka_milvus.errors import BackboneError
from sbka_milvus.files import replacing

_TENSORFLOW_SCALE = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


class TimmBackbone(Backbone):
    """Pooled features before the classifier."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """shape (B, feature_dim): see :class:`Backbone`."""
        features = self.net.forward_features(pixels)  # type: ignore[operator]
        made: torch.Tensor = self.net.forward_head(features, pre_logits=True)  # type: ignore[operator]
        # A network that was cut has lost what pools.
        return made if made.ndim == 2 else pool_level(self.net, made)


def build_timm(request: BuildRequest) -> BuiltBackbone:
    """Builds a timm backbone; see :func:`~sbka_milvus.encoders.backbones.build_backbone`."""
    notes: list[str] = []
    options = dict(request.options)
    state: dict[str, torch.Tensor] | None = None
    overrides = dict(request.overrides)
    size = request.size
    if request.weights is not None and request.weights.is_dir():
        start = read_start(request.weights, request.spec)
        state, options, overrides = start.state, {**start.options, **options}, {**start.preprocessing, **overrides}
        size = size or start.size
    elif request.weights is not None:
        state, metadata = read_weights(request.weights)
        options = {**_options_from_metadata(metadata), **options}
        if _is_tensorflow(request.spec, state):
            options.setdefault("pad_type", "same")
            overrides = {**_TENSORFLOW_SCALE, **overrides}
            notes.append(
                f"{request.weights.name} has {TENSORFLOW_CLASSES} classes: taken as TensorFlow weights "
                "(SAME padding, pixels in [-1, 1], background class left out)."
            )
    own, sizes = split_options(options)
    net = _create(request, own, state)
    classifier = net.get_classifier()  # type: ignore[operator]
    trained = request.pretrained if state is None else _classifier_rows(request.spec, state) is not None
    knowledge = KnowledgeHead.from_classifier(classifier) if trained and isinstance(classifier, nn.Linear) else None
    dim = int(net.head_hidden_size if hasattr(net, "head_hidden_size") else net.num_features)  # type: ignore[arg-type]
    net.reset_classifier(0)  # type: ignore[operator]
    preprocessing = _preprocessing(net, size, overrides)
    if LEVELS in sizes:
        dim, knowledge = keep_levels(net, request.spec, sizes[LEVELS]), None
    if size:
        _set_input_size(net, request.spec, size)
    add(net, request.spec, sizes)
    backbone = TimmBackbone(request.spec, net, preprocessing, dim, options)
    return BuiltBackbone(backbone, knowledge, tuple(notes))


def _set_input_size(net: nn.Module, spec: BackboneSpec, size: int) -> None:
    """Transformers have positions for one input size, which timm resamples to another; then a look that it works."""
    training = net.training
    try:
        if hasattr(net, "set_input_size"):
            net.set_input_size(img_size=(size, size))  # type: ignore[operator]
        with torch.no_grad():
            net.eval().forward_features(torch.zeros(1, 3, size, size))  # type: ignore[operator]
    except (AssertionError, RuntimeError, ValueError, ZeroDivisionError) as error:
        raise BackboneError(
            f"{spec} cannot take an input of {size} px: {str(error).rstrip('.')}.",
            "Choose a larger size, or a multiple of its patch or window size.",
        ) from error
    net.train(training)


def _create(request: BuildRequest, options: dict[str, Any], state: dict[str, torch.Tensor] | None) -> nn.Module:
    spec = request.spec
    if not timm.is_model(spec.model):
        close = ", ".join(get_close_matches(spec.model, timm.list_models(), n=5))
        raise BackboneError(
            f"timm knows no model {spec.model!r}.", f"Similar names: {close or 'run timm.list_models()'}."
        )
    name = f"{spec.model}.{spec.tag}" if spec.tag else spec.model
    arguments = dict(options)
    if state is not None:
        head = _classifier_rows(spec, state)
        if head is not None:
            arguments["num_classes"] = head
    try:
        net: nn.Module = timm.create_model(name, pretrained=request.pretrained and state is None, **arguments)
    except (TypeError, ValueError) as error:
        raise BackboneError(
            f"timm cannot build {spec} with {arguments}: {str(error).rstrip('.')}.", "Check its tag and options."
        ) from error
    except Exception as error:
        raise explain_hub_failure(spec, error) from error
    if state is not None:
        _load(net, state, request)
    return net


def _load(net: nn.Module, state: dict[str, torch.Tensor], request: BuildRequest) -> None:
    missing = sorted(set(net.state_dict()) - set(state))
    classifier = str(net.pretrained_cfg.get("classifier", ""))  # type: ignore[union-attr, operator]
    missing = [name for name in missing if not name.startswith(classifier + ".")]
    try:
        result = net.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise BackboneError(
            f"The weights {request.weights} do not fit {request.spec}: {str(error).splitlines()[-1].strip()}.",
            "Name the model that the file was made from.",
        ) from error
    if missing or result.unexpected_keys:
        example = (missing or result.unexpected_keys)[0]
        raise BackboneError(
            f"The weights {request.weights} do not fit {request.spec}: {len(missing)} tensors are missing and "
            f"{len(result.unexpected_keys)} are unknown, for example {example}.",
            "Name the model that the file was made from.",
        )


def _classifier_rows(spec: BackboneSpec, state: dict[str, torch.Tensor]) -> int | None:
    cfg = timm.get_pretrained_cfg(spec.model)
    layer = getattr(cfg, "classifier", None) or "classifier"
    weight = state.get(f"{layer}.weight") if isinstance(layer, str) else None
    return None if weight is None else int(weight.shape[0])


def _is_tensorflow(spec: BackboneSpec, state: dict[str, torch.Tensor]) -> bool:
    return _classifier_rows(spec, state) == TENSORFLOW_CLASSES


def _options_from_metadata(metadata: dict[str, str]) -> dict[str, Any]:
    """Options that the file states of itself as ``timm = "name(key=value,...)"``: ``pad_type`` alone is taken."""
    match = re.search(r"pad_type=['\"]?(\w+)", metadata.get("timm", ""))
    return {"pad_type": match.group(1)} if match else {}


def _preprocessing(net: nn.Module, size: int | None, overrides: dict[str, Any]) -> Preprocessing:
    config = resolve_model_data_config(net)  # type: ignore[no-untyped-call]
    own = Preprocessing(
        size=int(config["input_size"][-1]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
    )
    changes: dict[str, Any] = {**({"size": size} if size else {}), **overrides}
    return replace(own, **changes)


def save_classifier(backbone: TimmBackbone, head: nn.Linear, path: Path) -> None:
    """Writes a backbone with a classifier as a weights file that :func:`build_timm` reads.

    Raises:
        OutputError: The file cannot be written.
    """
    layer = str(getattr(timm.get_pretrained_cfg(backbone.spec.model), "classifier", None) or "classifier")
    state = {name: value.detach().cpu().contiguous() for name, value in backbone.net.state_dict().items()}
    state |= {f"{layer}.weight": head.weight.detach().cpu(), f"{layer}.bias": head.bias.detach().cpu()}
    with replacing(path) as file:
        file.write(save(state))
