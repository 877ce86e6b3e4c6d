"""Retraining: by which rule a gallery gets a new model, what was tried so far, and whether it is time again."""

from sbka_milvus.pipelines.retraining.data import data_fingerprint
from sbka_milvus.pipelines.retraining.due import Outlook, Reason, look, outlook_of, retraining_due
from sbka_milvus.pipelines.retraining.policy import GatePolicy, RetrainingPolicy
from sbka_milvus.pipelines.retraining.records import (
    RetrainingRecord,
    begin_retraining,
    finish_retraining,
    read_retrainings,
    settle_retrainings,
)
from sbka_milvus.pipelines.retraining.registry import register, registered, unregister

__all__ = [
    "GatePolicy",
    "Outlook",
    "Reason",
    "RetrainingPolicy",
    "RetrainingRecord",
    "begin_retraining",
    "data_fingerprint",
    "finish_retraining",
    "look",
    "outlook_of",
    "read_retrainings",
    "register",
    "registered",
    "retraining_due",
    "settle_retrainings",
    "unregister",
]
