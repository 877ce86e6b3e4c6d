"""The form of an index comes from what the model knows, what is asked for, and what the gallery holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sbka_milvus.embeddings.versions import VersionRecord
from sbka_milvus.encoders.statistics import STATISTICS_FILE
from sbka_milvus.errors import BundleError, GalleryError
from sbka_milvus.pipelines import index_form
from sbka_milvus.pipelines.index_form import LEAST_PHOTOS, FormOptions, form_gallery, form_key, form_name
from sbka_milvus.rankers import choose_matching, linear_system, unpack_matching
from sbka_milvus.types import Embeddings, FloatArray

N = 60
DEFAULT = FormOptions()


def named(vectors: FloatArray) -> Embeddings:
    return Embeddings(tuple(f"/p/{number:03d}.jpg" for number in range(len(vectors))), vectors)


@pytest.fixture
def form(gallery, progress):
    """Brings vectors into their form."""

    def run(vectors, options=DEFAULT, earlier=()):
        return form_gallery(gallery, named(vectors), options, earlier, progress)

    return run


def record(described, photos: int = N, **changes) -> VersionRecord:
    made = VersionRecord(1, "t1", "grid-1", photos, 4, "digest", "2026", {"n_clusters": 0, "seed": 0})
    return replace(made, matching=described, **changes)


class TestForm:
    def test_a_model_that_knows_sketches_lifts(self, gallery, form, pictures, progress):
        pictures.teach(gallery)
        vectors = pictures.photos(N)
        formed = form(vectors)
        matching = unpack_matching(formed.content)

        assert formed.described["form"] == "linear"
        assert formed.described["name"] == matching.name == form_name(record(formed.described))
        assert formed.embeddings.dim == matching.lifted.dim == formed.described["directions"] + 2
        assert formed.embeddings.uris == named(vectors).uris
        assert matching.photos.ids.tolist() == sorted(named(vectors).ids.tolist())
        np.testing.assert_array_equal(
            formed.clustering.assignments,
            np.argmax(formed.embeddings.vectors @ formed.clustering.table.centroids.T, axis=1),
        )
        assert [stage for stage, *_ in progress.stages] == [
            "Choosing how to match",
            "Aligning photos and sketches",
            "Clustering",
        ]

    def test_it_ranks_as_the_linear_system_with_what_was_chosen(self, gallery, form, pictures):
        pictures.teach(gallery)
        vectors, queries = pictures.photos(N), pictures.sketches(9)
        formed = form(vectors)
        from sbka_milvus.encoders.statistics import read_statistics

        sketches = read_statistics(gallery.model_folder).sketches
        choice = choose_matching(vectors)
        assert (formed.described["n_clusters"], formed.described["weight"]) == (choice.n_clusters, choice.weight)
        assert formed.described["choice"] == choice.to_dict()
        matching = unpack_matching(formed.content)
        found = matching.lifted.scores(matching.queries(queries) @ formed.embeddings.vectors.T)
        wanted = linear_system(sketches, choice.n_clusters, choice.weight).scores(queries, vectors)
        np.testing.assert_allclose(found, wanted, atol=2e-6)

    @pytest.mark.parametrize("matching", ["auto", "fused"])
    def test_without_statistics_or_where_it_is_asked_for_vectors_stay(
        self, gallery, form, pictures, matching, progress
    ):
        if matching == "fused":
            pictures.teach(gallery)
        vectors = pictures.photos(N)
        formed = form(vectors, FormOptions(matching))
        assert formed.embeddings.vectors is vectors
        assert formed.content == b""
        assert formed.described == {
            "form": "fused",
            "why": "It was asked for." if matching == "fused" else "The model knows no sketches.",
        }
        assert [stage for stage, *_ in progress.stages] == ["Clustering"]

    def test_of_few_photos_auto_does_not_lift_and_linear_does(self, gallery, form, pictures):
        pictures.teach(gallery)
        few = pictures.photos(LEAST_PHOTOS - 1)
        assert form(few).described == {"form": "fused", "why": f"There are fewer than {LEAST_PHOTOS} photos."}
        assert form(pictures.photos(LEAST_PHOTOS)).described["form"] == "linear"
        assert form(few, FormOptions("linear")).described["form"] == "linear"
        assert form(few[:2], FormOptions("linear")).described["form"] == "linear"
        with pytest.raises(GalleryError, match="holds one photo"):
            form(few[:1], FormOptions("linear"))

    def test_linear_without_statistics_is_refused_with_the_way_out(self, form, pictures):
        with pytest.raises(GalleryError, match=r"its model knows no sketches.*sbka train.*SBKA_INGEST__MATCHING"):
            form(pictures.photos(N), FormOptions("linear"))

    def test_damaged_statistics_are_told_and_not_passed_over(self, gallery, form, pictures):
        pictures.teach(gallery)
        path = gallery.model_folder / STATISTICS_FILE
        path.write_bytes(path.read_bytes()[:200])
        with pytest.raises(BundleError, match=r"statistics\.npz is damaged"):
            form(pictures.photos(N))


class TestChoice:
    def test_clusters_that_are_asked_for_are_made_without_looking(self, gallery, form, pictures, progress):
        pictures.teach(gallery)
        formed = form(pictures.photos(N), FormOptions(n_clusters=5))
        assert {len(table) for table in unpack_matching(formed.content).lifted.tables} == {5}
        assert formed.described["why"] == "The clusters were asked for."
        assert len(formed.clustering.table) == 5
        assert "choice" not in formed.described
        assert "Choosing how to match" not in [stage for stage, *_ in progress.stages]

    def test_of_a_large_gallery_they_come_from_its_size(self, gallery, form, pictures, monkeypatch):
        monkeypatch.setattr(index_form, "MOST_CHOSEN", N - 1)
        pictures.teach(gallery)
        formed = form(pictures.photos(N))
        assert (formed.described["n_clusters"], formed.described["weight"]) == (10, 0.8)
        assert "number of photos" in formed.described["why"]

    @pytest.mark.parametrize(("photos", "holds"), [(N, True), (75, True), (48, True), (76, False), (47, False)])
    def test_an_earlier_choice_holds_while_the_gallery_is_of_like_size(self, gallery, form, pictures, photos, holds):
        pictures.teach(gallery)
        chosen = {"n_clusters": 7, "weight": 0.3, "why": "x", "chosen_for": N, "choice": {"n_clusters": 7}}
        described = form(pictures.photos(photos), earlier=[record({"form": "linear"} | chosen)]).described
        assert ({name: described[name] for name in chosen} == chosen) is holds
        assert described["chosen_for"] == (N if holds else photos)

    @pytest.mark.parametrize(
        "earlier",
        [
            record(None),
            record({"form": "fused", "why": "x"}),
            record({"form": "linear", "n_clusters": 5, "weight": 0.8, "why": "asked for"}),
            record({"form": "linear", "n_clusters": 7, "weight": 0.3, "why": "x", "chosen_for": N, "choice": {}},
                   fingerprint="grid-2"),
            record({"form": "linear", "n_clusters": 7, "weight": 0.3, "why": "x", "chosen_for": N, "choice": {}},
                   options={"n_clusters": 0, "seed": 9}),
        ],
    )  # fmt: skip
    def test_what_was_not_chosen_or_for_another_model_does_not_count(self, gallery, form, pictures, earlier):
        pictures.teach(gallery)
        assert form(pictures.photos(N), earlier=[earlier]).described["choice"]["n_clusters"] > 0

    def test_where_clusters_say_nothing_ranking_is_plain(self, gallery, form, pictures):
        pictures.teach(gallery)
        from sbka_milvus.types import normalise

        noise = normalise(np.random.default_rng(0).normal(size=(N, 16)))
        formed = form(noise)
        assert (formed.described["weight"], formed.described["why"]) == (0.0, "Clusters say nothing here.")
        assert unpack_matching(formed.content).cluster_weight == 0.0


class TestKey:
    def test_it_names_what_decides_and_is_empty_where_nothing_does(self, gallery, pictures, make_pictures):
        assert form_key(gallery, "auto") == form_key(gallery, "fused") == []
        with pytest.raises(GalleryError, match="knows no sketches"):
            form_key(gallery, "linear")
        pictures.teach(gallery)
        first = form_key(gallery, "auto")
        assert first[0] == "auto" and first == form_key(gallery, "auto")
        assert form_key(gallery, "fused") == []
        assert form_key(gallery, "linear")[0] == "linear"
        make_pictures(seed=1).teach(gallery)
        assert form_key(gallery, "auto") != first


def test_a_record_of_a_release_with_one_form_is_named_by_it():
    assert form_name(None) == form_name(record(None)) == form_name(record({"form": "fused", "why": "x"})) == "fused"
