from __future__ import annotations

import grpc
import pytest
from own_rpc_errors import FakeRpcError
from pymilvus.exceptions import DescribeCollectionException, MilvusException

from sbka_milvus.errors import CollectionMissing, StoreError, StoreUnavailable
from sbka_milvus.store.faults import store_faults, translate


@pytest.mark.parametrize(
    "error",
    [
        FakeRpcError(grpc.StatusCode.UNAVAILABLE, "connection refused"),
        FakeRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"),
        grpc.FutureTimeoutError(),
        MilvusException(2, "Fail connecting to server on milvus:19530"),
        MilvusException(8, "rate limit exceeded"),
        MilvusException(grpc.StatusCode.UNAVAILABLE, "[search] Retry timeout: 10s, StatusCode.UNAVAILABLE"),
        MilvusException(1, "proxy not ready"),
        MilvusException(1, "Unexpected error, message=<Cannot invoke RPC on closed channel!>"),
        MilvusException(1, "wait for loading collection timeout, collection: cats__v1"),
    ],
)
def test_what_may_pass_is_worth_retrying(error):
    translated = translate(error, "http://milvus:19530")
    assert type(translated) is StoreUnavailable
    assert "http://milvus:19530" in translated.problem and "try again" in translated.remedy


@pytest.mark.parametrize(
    "error",
    [
        MilvusException(100, "collection 'cats__v1' does not exist", 4),
        DescribeCollectionException(1, "can't find collection", 4),
        MilvusException(1600, "alias not found[alias=cats]"),
    ],
)
def test_what_is_missing(error):
    assert type(translate(error, "here")) is CollectionMissing


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (MilvusException(1, "vector dimension mismatch"), ""),
        (MilvusException(4, "something else by the same number"), ""),
        (FakeRpcError(grpc.StatusCode.UNAUTHENTICATED, "auth check failure"), "token"),
        (FakeRpcError(grpc.StatusCode.PERMISSION_DENIED, "no right"), "token"),
        (MilvusException(800, "database not found[database=pets]"), "database"),
        (MilvusException(101, "collection not loaded"), "load"),
    ],
)
def test_what_is_refused(error, remedy):
    translated = translate(error, "here")
    assert type(translated) is StoreError
    assert remedy in translated.remedy
    assert "here answers" in translated.problem


def test_the_message_is_one_line_and_says_something():
    assert str(translate(MilvusException(1, "one\n  two."), "here")) == "The store here answers: one two."
    assert "FutureTimeoutError" in translate(grpc.FutureTimeoutError(), "here").problem


def test_only_faults_of_milvus_are_translated():
    with pytest.raises(ZeroDivisionError), store_faults("here"):
        _ = 1 / 0
    with pytest.raises(StoreError) as caught, store_faults("here"):
        raise MilvusException(1, "no")
    assert isinstance(caught.value.__cause__, MilvusException)
