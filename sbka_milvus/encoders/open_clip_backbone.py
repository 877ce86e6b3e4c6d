"""Backbones of open_clip: the image tower of a CLIP model, and knowledge heads from its text tower."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn

from sbka_milvus.encoders.additions import add, split_options
from sbka_milvus.encoders.backbones import Backbone, BuildRequest, BuiltBackbone
from sbka_milvus.encoders.hub import explain_hub_failure
from sbka_milvus.encoders.knowledge import KnowledgeHead
from sbka_milvus.encoders.levels import LEVELS
from sbka_milvus.encoders.preprocessing import Preprocessing
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.encoders.weights import TORCH_SUFFIXES, read_weights
from sbka_milvus.errors import BackboneError

TEXT_BATCH = 50


class OpenClipBackbone(Backbone):
    """The projected feature of the image tower, in the space that images and texts share."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """shape (B, feature_dim): see :class:`Backbone`."""
        feature = self.net(pixels)
        pooled: torch.Tensor = feature[0] if isinstance(feature, tuple) else feature
        return pooled


def build_open_clip(request: BuildRequest, *, with_knowledge: bool, names: tuple[str, ...] = ()) -> BuiltBackbone:
    """Builds an open_clip backbone; see :func:`~sbka_milvus.encoders.backbones.build_backbone`.

    A weights file may hold the whole CLIP model, or its image tower alone: then there is no knowledge head.
    """
    spec = request.spec
    # get_model_config() would also fetch from a hub or read a folder where the name has a scheme such as "hf-hub:".
    config = open_clip.get_model_config(spec.model) if spec.model in open_clip.list_models() else None
    if config is None:
        close = ", ".join(get_close_matches(spec.model, open_clip.list_models(), n=5))
        raise BackboneError(
            f"open_clip knows no model {spec.model!r}.", f"Similar names: {close or 'run open_clip.list_models()'}."
        )
    own, sizes = split_options(request.options)
    if LEVELS in sizes:
        raise BackboneError(f"{spec} cannot be cut: only networks of timm can.", f"Leave {LEVELS} out.")
    if request.weights is not None and request.weights.is_dir():
        raise BackboneError(
            f"{request.weights} is a folder, not a file of weights.", "Only backbones of timm can start from a model."
        )
    model = _create(request, own)
    has_text = request.pretrained if request.weights is None else _load(model, request.weights, spec)
    knowledge = _knowledge_head(model, spec, names) if with_knowledge and has_text else None
    visual: nn.Module = model.visual  # type: ignore[assignment]
    preprocessing = _preprocessing(visual, request)
    add(visual, spec, sizes)
    backbone = OpenClipBackbone(spec, visual, preprocessing, int(config["embed_dim"]), dict(request.options))
    return BuiltBackbone(backbone, knowledge)


def _create(request: BuildRequest, options: dict[str, Any]) -> nn.Module:
    spec = request.spec
    tag = spec.tag or None
    fetch = request.pretrained and request.weights is None
    if fetch and tag is None:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(spec.model)) or "none"
        raise BackboneError(
            f"{spec} names no pre-trained weights.",
            f"Add a tag after a slash (it has: {tags}), or pass --weights FILE.",
        )
    if fetch and not open_clip.is_pretrained_cfg(spec.model, tag):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(spec.model)) or "none"
        raise BackboneError(f"{spec.model} has no pre-trained weights {tag!r}.", f"It has: {tags}.")
    arguments = dict(options)
    if request.size:
        arguments["force_image_size"] = request.size
    try:
        with warnings.catch_warnings(), _QuietLogging():
            # open_clip warns that weights of a tag were trained with another activation; its models of that
            # activation have names of their own ("-quickgelu"), which is what the user must then pick.
            warnings.simplefilter("ignore", UserWarning)
            model: nn.Module = open_clip.create_model(
                spec.model,
                pretrained=tag if fetch else None,
                load_weights=fetch,
                device=torch.get_default_device(),
                pretrained_text=fetch,
                **arguments,
            )
    except TypeError as error:
        raise BackboneError(f"open_clip cannot build {spec}: {error}.", "Check its options.") from error
    except Exception as error:
        raise explain_hub_failure(spec, error) from error
    return model


def _load(model: nn.Module, weights: Path, spec: BackboneSpec) -> bool:
    """Loads a weights file; whether it filled the text tower too."""
    state, _ = read_weights(weights)
    if weights.suffix not in (".safetensors", *TORCH_SUFFIXES):
        raise BackboneError(
            f"The form of the weights file {weights} is not to be told from its name.", "Name it FILE.safetensors."
        )
    whole = any(name.startswith("visual.") for name in state)
    try:
        if whole:
            # open_clip's own loader also fits position embeddings to another input size.
            open_clip.load_checkpoint(model, str(weights), strict=True, weights_only=True)
        else:
            model.visual.load_state_dict(state, strict=True)  # type: ignore[union-attr]
    except (RuntimeError, LookupError, AttributeError, ValueError, AssertionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[-1].strip().rstrip(".")
        raise BackboneError(
            f"The weights {weights} do not fit {spec}: {reason}.",
            "Name the open_clip model that the file was made from.",
        ) from error
    return whole


def _knowledge_head(model: nn.Module, spec: BackboneSpec, names: tuple[str, ...]) -> KnowledgeHead:
    """Text embeddings of class names as class weights: zero-shot classification as CLIP does it.

    Each is the mean over open_clip's templates ("a photo of the large {}."); by default the names are ImageNet's.
    """
    with _QuietLogging():
        weights = open_clip.build_zero_shot_classifier(
            model.eval(),
            tokenizer=open_clip.get_tokenizer(spec.model),
            classnames=list(names) or open_clip.IMAGENET_CLASSNAMES,
            templates=open_clip.SIMPLE_IMAGENET_TEMPLATES,
            num_classes_per_batch=TEXT_BATCH,
        )
    scale = float(model.logit_scale.detach().exp())  # type: ignore[operator]
    return KnowledgeHead(weights.T, scale=scale, names=names or tuple(open_clip.IMAGENET_CLASSNAMES))


def _preprocessing(visual: nn.Module, request: BuildRequest) -> Preprocessing:
    config: dict[str, Any] = open_clip.transform.PreprocessCfg().__dict__ | dict(visual.preprocess_cfg)  # type: ignore[arg-type]
    size = config["size"]
    own = Preprocessing(
        size=int(size if isinstance(size, int) else size[-1]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
        fit="squash" if config["resize_mode"] == "squash" else "crop",
    )
    return replace(own, **request.overrides)


class _QuietLogging:
    """open_clip reports each step of a build through the root logger; users see its errors as our own."""

    def __enter__(self) -> None:
        self._level = logging.getLogger().level
        logging.getLogger().setLevel(logging.CRITICAL)

    def __exit__(self, *_: object) -> None:
        logging.getLogger().setLevel(self._level)
