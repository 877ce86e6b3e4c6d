"""The options of ``sbka train`` that say how it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sbka_milvus.encoders.spec import key_values

RECIPE, TEACHER = "Recipe", "Teacher"


def _recipe(text: str, **limits: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=RECIPE, **limits)


def _teacher(text: str, **limits: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=TEACHER, **limits)


LearningRate = Annotated[float, _recipe("At the start.", min=0.0)]
Schedule = Annotated[
    Literal["exponential", "cosine"], _recipe("How the rate falls: by a factor an epoch, or as half a cosine.")
]
FinalRateFactor = Annotated[float, _recipe("Rate at the end over rate at the start.")]
WarmupEpochs = Annotated[float, _recipe("Epochs over which the rate climbs at the start.", min=0.0)]
Optimiser = Annotated[
    Literal["adam", "adamw"], _recipe("adam: weight decay in the gradient; adamw: off the weights themselves.")
]
WeightDecay = Annotated[float, _recipe("Of the optimiser.", min=0.0)]
ClipNorm = Annotated[float, _recipe("Length to which gradients are shortened; 0: never.", min=0.0)]
EmaDecay = Annotated[
    float, _recipe("Of the running mean of the weights, which becomes the model; 0: none.", min=0.0, max=0.999999)
]
SketchesPerBatch = Annotated[int, _recipe("Sketches in a step.", min=2)]
PhotosPerBatch = Annotated[int, _recipe("Photos in a step.", min=2)]
Balanced = Annotated[
    int, _recipe("Categories in a step, each with as many pictures; 0: pictures are drawn whatever they show.", min=0)
]
Accumulate = Annotated[int, _recipe("Steps whose gradients are added up before the weights change.", min=1)]
Head = Annotated[Literal["linear", "cosine"], _recipe("Scores of the seen categories.")]
HeadTemperature = Annotated[float, _recipe("Of the cosine head.")]
LabelSmoothing = Annotated[float, _recipe("Share of the target that goes to all categories.", min=0.0)]
Semantics = Annotated[
    Path | None, _recipe("npz of word vectors of the categories' names ('names', 'vecs'); seen ones alone are read.")
]
SemanticsWeight = Annotated[
    float, _recipe("Share of the target that goes to categories with near names; needs --semantics.", min=0.0)
]
SemanticsTemperature = Annotated[float, _recipe("Of the softmax over the nearness of names.")]
ContrastiveWeight = Annotated[float, _recipe("Of the contrastive loss over sketches and photos together.", min=0.0)]
ContrastiveTemperature = Annotated[float, _recipe("Of the contrastive loss.")]
CrossModalWeight = Annotated[
    float, _recipe("Of a pair of sketch and photo in it, where a pair of one kind counts 1.", min=0.0)
]
KnowledgeWeight = Annotated[float, _recipe("Of what is learned from the teacher.", min=0.0)]
SketchKnowledgeWeight = Annotated[
    float, _recipe("Of what sketches learn from what the teacher says of photos of their category.", min=0.0)
]
AlignmentWeight = Annotated[float, _recipe("Of the Gaussian alignment of features.", min=0.0)]
AffinityWeight = Annotated[float, _recipe("Of the affinities in the teacher's scores.", min=0.0)]
DetachTargets = Annotated[bool, _recipe("Keep gradients out of the one who is learned from.")]
AugmentProbability = Annotated[float, _recipe("Share of pictures that are augmented.", min=0.0, max=1.0)]
ValidationShare = Annotated[float, _recipe("Share of seen categories that choose the best epoch.", min=0.0, max=0.9)]

BackboneRateFactor = Annotated[float, _recipe("Learning rate of the backbone over that of the heads.")]
FrozenStages = Annotated[
    int, _recipe("First stages of the backbone that do not train, the stem included; 0: none.", min=0)
]
Trainable = Annotated[
    Literal["all", "norm", "adapters", "prompts"] | None,
    _recipe("What trains in the backbone; by default all, for CLIP its norms alone; adapters and prompts are added."),
]
AdapterWidth = Annotated[int, _recipe("Of adapters, where these train.", min=1)]
PromptCount = Annotated[int, _recipe("Number of prompts, where these train.", min=1)]

Teacher = Annotated[
    Path | None,
    _teacher(
        "Folder of a model that teaches by its features alone, or of several models that do so together; needs "
        "--embedding-weight or --relation-weight."
    ),
]
TeacherBackbone = Annotated[str, _teacher("The teacher's own backbone; by default a copy of the student's.")]
TeacherWeights = Annotated[Path | None, _teacher("Local weights of the teacher's backbone, or a folder of a model.")]
TeacherSize = Annotated[int | None, _teacher("Side of the teacher's input in pixels.", min=32)]
TeacherOption = Annotated[list[str] | None, _teacher("Argument of the teacher's backbone, KEY=VALUE.")]
KnowledgeNames = Annotated[
    Path | None, _teacher("Text file of class names, one a line, that a text tower reads for the knowledge heads.")
]
TeacherScope = Annotated[
    Literal["head", "adapters", "all"], _teacher("What of the teacher may learn in mode bidirectional.")
]
TeacherStarts = Annotated[float, _teacher("Share of the epochs after which the teacher learns.", min=0.0, max=0.999999)]
TeacherRateFactor = Annotated[float, _teacher("The teacher's learning rate over the student's.")]
TeacherSchedule = Annotated[
    Literal["shared", "restart"], _teacher("Whether the teacher's rate falls with the student's, or starts anew.")
]
RelationWeight = Annotated[
    float, _teacher("Of what student and teacher learn from how the other sees pictures lie together.", min=0.0)
]
EmbeddingWeight = Annotated[
    float, _teacher("Of what student and teacher learn of each other's features themselves.", min=0.0)
]
RelationPictures = Annotated[
    Literal["photos", "both"],
    _teacher("Which pictures features are compared on; both for a teacher that knows sketches."),
]


def trainable_of(backbone: str) -> str:
    """What trains in a backbone where nothing is said of it: full fine-tuning destroys CLIP."""
    return "norm" if backbone.startswith("open_clip:") else "all"


def teacher_backbone(values: dict[str, Any]) -> dict[str, Any]:
    """The entries of a teacher's own backbone in a training: none where nothing is said of it.

    What is not said of it is as the student's, if it is of the same backbone.

    Args:
        values: what a user gave, by the names of ``sbka train``'s parameters; ``backbone_options`` are those of the
            student's backbone, read.
    """
    own = {name: values[f"teacher_{name}"] for name in ("backbone", "weights", "size")}
    options = key_values(values["teacher_option"] or [])
    if not (options or any(own.values())):
        return {}
    same = own["backbone"] in ("", None, values["backbone"])
    taken = {f"teacher_{name}": value or (values[name] if same else None) for name, value in own.items()}
    return taken | {"teacher_options": options or (values["backbone_options"] if same else {})}
