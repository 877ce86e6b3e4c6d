"""Evaluation gives the figures that can be computed by hand, and says what it left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sbka_milvus.clusters import fit_clusters
from sbka_milvus.errors import DatasetError, EncoderMismatch, InvalidValue, StoreError
from sbka_milvus.evaluation import EvaluationPlan, rank_one_to_many, rank_one_to_one
from sbka_milvus.images import LabelledImage, Split
from sbka_milvus.pipelines.evaluate import (
    EvaluateOptions,
    evaluate_gallery,
    evaluate_vectors,
    measure_rankings,
    measure_vectors,
)
from sbka_milvus.pipelines.evaluate_report import make_report
from sbka_milvus.pipelines.labelled import LabelledVectors, encode_images
from sbka_milvus.pipelines.rankings import Rankings
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.store import MAX_LIMIT, MemoryGalleryStore, MilvusGalleryStore
from sbka_milvus.types import Clustering, ClusterTable, Embeddings, FloatArray, GalleryRows, normalise

SPLIT = Split("tiny", seen=("dog",), unseen=("ant", "bee"))
OPTIONS = EvaluateOptions("drawn", 64, plan=EvaluationPlan(ks=(1, 2)))


def precisions(report) -> dict[str, float]:
    """Mean AP of each category by the headline method."""
    return {one.name: one.values["one-to-many"]["mAP@all"] for one in report.categories}


def directions(*degrees: float) -> FloatArray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def vectors(rows: FloatArray, categories: list[str], kind: str = "photos", notes: tuple[str, ...] = ()):
    paths = tuple(Path(f"/{kind}/{category}/{row:05d}.jpg") for row, category in enumerate(categories))
    return LabelledVectors(rows, tuple(categories), paths, notes)


def serve(store: GalleryStore, photos: LabelledVectors, clustering: Clustering, fingerprint: str = "grid-1") -> None:
    embeddings = Embeddings(tuple(str(path) for path in photos.paths), photos.vectors)
    info = store.create_version("cats", fingerprint, clustering.table)
    store.insert(info, GalleryRows(embeddings, clustering.assignments))
    store.promote(info)


# Seen from the sketch at 0 degrees: ant 10, bee 20, ant 40, bee 60.
PHOTOS = vectors(directions(10, 40, 20, 60), ["ant", "ant", "bee", "bee"])
SKETCHES = vectors(directions(0), ["ant"], "sketches")
BY_CATEGORY = Clustering(
    ClusterTable(directions(25, 40), np.array([2, 2]), np.float32([1, 1]), ((), ())), np.array([0, 0, 1, 1])
)


class TestByHand:
    def test_one_to_one_and_one_to_many(self, make_encoder, progress):
        store = MemoryGalleryStore()
        serve(store, PHOTOS, BY_CATEGORY)
        report = evaluate_gallery(store, "cats", SKETCHES, SPLIT, make_encoder(), OPTIONS, progress)

        # One-to-one: ant, bee, ant, bee. AP = (1/1 + 2/3) / 2.
        assert report.score("one-to-one", "mAP@all") == pytest.approx(5 / 6)
        assert report.score("one-to-one", "P@1") == 1
        assert report.score("one-to-one", "P@2") == 0.5
        # One-to-many: 0.8 cos 25 + 0.2 cos 40 = 0.878 is above 0.8 cos 40 + 0.2 cos 20 = 0.801: ant, ant, bee, bee.
        assert report.score("one-to-many", "mAP@all") == 1
        assert report.score("one-to-many", "P@2") == 1
        # Chance, with R = 2 of N = 4 and H_4 = 25/12: 1/4 (25/12 + 1/3 (4 - 25/12)) = 49/72.
        assert report.score("chance", "mAP@all") == pytest.approx(49 / 72)
        assert report.score("chance", "P@1") == 0.5
        assert precisions(report) == {"ant": 1.0}
        assert (report.categories[0].n_queries, report.categories[0].n_photos) == (1, 2)
        assert (report.n_queries, report.n_gallery, report.n_categories, report.n_clusters) == (1, 4, 1, 2)
        assert (report.data_set, report.split_name, report.split_digest) == ("drawn", "tiny", SPLIT.digest)
        assert (report.cluster_weight, report.fingerprint, report.notes) == (0.8, "grid-1", ())
        assert progress.stages == [["Searching", 1, 1]]

    def test_the_weight_is_that_of_the_options(self, make_encoder, progress):
        store = MemoryGalleryStore()
        serve(store, PHOTOS, BY_CATEGORY)
        options = replace(OPTIONS, cluster_weight=0.0)
        report = evaluate_gallery(store, "cats", SKETCHES, SPLIT, make_encoder(), options, progress)
        assert report.score("one-to-many", "mAP@all") == pytest.approx(5 / 6)

    def test_the_mean_is_over_the_sketches(self):
        sketches = vectors(directions(0, 0, 90), ["ant", "bee", "bee"], "sketches")
        report = evaluate_vectors(PHOTOS, sketches, SPLIT, "grid-1", replace(OPTIONS, n_clusters=4))
        # Orders from 0: ant, bee, ant, bee; from 90 the reverse. APs: 5/6, (1/2 + 2/4) / 2 = 1/2, (1 + 2/3) / 2 = 5/6.
        assert report.score("one-to-one", "mAP@all") == pytest.approx((5 / 6 + 1 / 2 + 5 / 6) / 3)
        # Each photo is a cluster of its own, so that both rankings are the same.
        assert report.score("one-to-many", "mAP@all") == report.score("one-to-one", "mAP@all")
        assert precisions(report) == pytest.approx({"ant": 5 / 6, "bee": 2 / 3})
        assert (report.n_queries, report.n_categories, report.n_clusters) == (3, 2, 4)

    def test_hand_made_rankings(self):
        rankings = Rankings({"mine": np.array([[2, 0, 1, 3]]), "yours": np.array([[1, 0, 3, 2]])}, 2)
        report = make_report(measure_rankings(rankings, PHOTOS, SKETCHES, OPTIONS), SPLIT, "grid-1", OPTIONS)
        assert report.score("mine", "mAP@all") == pytest.approx((1 / 2 + 2 / 3) / 2)
        assert report.score("yours", "mAP@all") == 1
        assert [row.method for row in report.rows] == ["chance", "mine", "yours"]
        assert report.headline == "yours"


class TestPlans:
    def test_protocols_differ_as_they_must(self):
        sketches = vectors(directions(0, 0, 90), ["ant", "bee", "bee"], "sketches")
        found = {
            name: evaluate_vectors(
                PHOTOS, sketches, SPLIT, "grid-1",
                replace(OPTIONS, n_clusters=4, plan=EvaluationPlan(name, ks=(3,), map_ks=(2,))),
            )
            for name in ("plain", "sake", "zse")
        }  # fmt: skip
        # From 0: ant, bee, ant, bee; from 90 the reverse. Interpolated APs: 5/6; 1/2; 5/6.
        assert found["zse"].score("one-to-one", "mAP@all") == pytest.approx((5 / 6 + 1 / 2 + 5 / 6) / 3)
        assert found["sake"].score("one-to-one", "mAP@all") == pytest.approx((5 / 6 + (1 / 2 + 5 / 6) / 2) / 2)
        # Hits among the first 3: 2, 1, 2; over 3 or over min(3, 2 relevant).
        assert found["plain"].score("one-to-one", "P@3") == pytest.approx(5 / 9)
        assert found["zse"].score("one-to-one", "P@3") == pytest.approx(5 / 6)
        assert found["sake"].score("one-to-one", "P@3") == pytest.approx((2 / 3 + 1 / 2) / 2)
        for name, report in found.items():
            assert report.protocol == name
            # Strict: 1/2, 1/4, 1/2; lenient: 1, 1/2, 1.
            strict, lenient = (report.score("one-to-one", f"mAP@2{form}") for form in ("", " lenient"))
            assert lenient == pytest.approx(2 * strict)
        assert any("drawn at random" in note for note in found["zse"].notes)
        assert found["plain"].notes == ()

    def test_doubles_count_once_beside_the_standard_figure(self):
        photos = LabelledVectors(
            directions(10, 10, 40, 20, 60),
            ("ant", "ant", "ant", "bee", "bee"),
            tuple(
                map(Path, ("/EXTEND/ant/1.jpg", "/256/ant/1.jpg", "/256/ant/2.jpg", "/256/bee/1.jpg", "/256/bee/2.jpg"))
            ),
        )
        options = replace(OPTIONS, n_clusters=5, plan=replace(OPTIONS.plan, deduplicate=True))
        report = evaluate_vectors(photos, SKETCHES, SPLIT, "grid-1", options)
        # ant, ant, bee, ant, bee: (1 + 1 + 3/4) / 3; without the double ant, bee, ant, bee: 5/6.
        assert report.score("one-to-one", "mAP@all") == pytest.approx((1 + 1 + 3 / 4) / 3)
        once = {row.method: row.values for row in report.deduplicated.rows}
        assert once["one-to-one"]["mAP@all"] == pytest.approx(5 / 6)
        assert once["one-to-one"]["P@2"] == 0.5
        assert list(once) == ["chance", "one-to-one", "one-to-many"]
        assert (report.n_gallery, report.deduplicated.n_gallery) == (5, 4)
        assert report.notes == ("5 photos cannot be read now: by name alone it was told whether they are doubles.",)
        assert evaluate_vectors(photos, SKETCHES, SPLIT, "grid-1", OPTIONS).deduplicated is None

    def test_doubles_by_content_are_found_in_the_files(self, draw, tmp_path):
        paths = [draw(tmp_path / "ant" / f"{number}.png", number % 3) for number in range(4)]
        photos = LabelledVectors(directions(10, 20, 40, 60), ("ant",) * 4, tuple(paths))
        options = replace(OPTIONS, plan=replace(OPTIONS.plan, deduplicate=True))
        report = evaluate_vectors(photos, SKETCHES, SPLIT, "grid-1", options)
        assert report.deduplicated.n_gallery == 3
        assert report.notes == ()

    def test_the_photo_that_was_drawn_is_looked_for(self):
        sketches = LabelledVectors(directions(0), ("ant",), (Path("/sketches/ant/00001-2.png"),))
        report = evaluate_vectors(PHOTOS, sketches, SPLIT, "grid-1", OPTIONS)
        found = {row.method: row.values for row in report.drawn.rows}
        # Photo 00001 of ant stands at 40 degrees: third of all, second of its category.
        assert (report.drawn.n_queries, report.drawn.n_gallery) == (1, 4)
        assert found["one-to-one"] == {"R@1": 0, "R@10": 1, "R@1 in category": 0, "R@10 in category": 1}
        assert evaluate_vectors(PHOTOS, SKETCHES, SPLIT, "grid-1", OPTIONS).drawn is None

    def test_seen_photos_in_the_gallery_are_told(self):
        photos = vectors(directions(10, 40, 20, 5), ["ant", "ant", "dog", "cow"])
        options = replace(OPTIONS, plan=replace(OPTIONS.plan, seen_share=0.5, seed=3))
        report = evaluate_vectors(photos, SKETCHES, SPLIT, "grid-1", options)
        assert (report.seen.share, report.seen.seed, report.seen.n_photos, report.seen.n_categories) == (0.5, 3, 2, 2)
        assert report.notes[0].startswith("Generalised: 2 photos of 2 seen categories (50% of the seen photos, seed 3)")
        assert report.score("one-to-one", "mAP@all") == pytest.approx((1 / 2 + 2 / 4) / 2)
        with pytest.raises(DatasetError, match="holds no photo of a seen category"):
            evaluate_vectors(PHOTOS, SKETCHES, SPLIT, "grid-1", options)

    def test_examples_show_sketches_and_their_first_hits(self):
        sketches = vectors(directions(0, 0, 90), ["ant", "bee", "bee"], "sketches")
        report = evaluate_vectors(PHOTOS, sketches, SPLIT, "grid-1", replace(OPTIONS, n_clusters=4))
        best = [one for one in report.examples if one.kind == "best"]
        worst = [one for one in report.examples if one.kind == "worst"]
        assert [one.sketch for one in best] == ["/sketches/ant/00000.jpg", "/sketches/bee/00002.jpg"]
        assert [one.sketch for one in worst] == ["/sketches/bee/00001.jpg"]
        assert worst[0].average_precision == pytest.approx(1 / 2)
        assert [hit.right for hit in worst[0].hits] == [False, True, False, True]
        assert best[0].hits[0].uri == "/photos/ant/00000.jpg"

    def test_scores_of_single_queries_can_be_kept_to_compare_runs(self):
        measured = measure_vectors(PHOTOS, SKETCHES, OPTIONS)
        one, many = measured.standard.scores
        assert (one.method, many.method) == ("one-to-one", "one-to-many")
        assert one.values["mAP@all"].tolist() == pytest.approx([5 / 6])
        assert measured.sketches == SKETCHES.paths


class TestMethods:
    def test_a_method_becomes_a_row_beside_the_built_in_ones(self):
        def backwards(queries, gallery, clustering):
            assert len(clustering.assignments) == len(gallery) == 4
            return rank_one_to_one(queries, gallery)[:, ::-1]

        report = evaluate_vectors(PHOTOS, SKETCHES, SPLIT, "grid-1", OPTIONS, {"backwards": backwards})
        assert [row.method for row in report.rows] == ["chance", "one-to-one", "one-to-many", "backwards"]
        # bee, ant, bee, ant.
        assert report.score("backwards", "mAP@all") == pytest.approx((1 / 2 + 2 / 4) / 2)
        assert {one.method for one in report.differences} == {"one-to-many", "backwards"}
        assert {one.baseline for one in report.differences} == {"one-to-one"}
        assert set(report.curves) == {"one-to-one", "one-to-many", "backwards"}
        assert report.headline == "one-to-many"

    def test_a_method_sees_all_queries_at_once_also_those_that_are_left_out(self):
        seen = []

        def spy(queries, gallery, clustering):
            seen.append(queries.shape)
            return rank_one_to_one(queries, gallery)

        sketches = vectors(directions(0, 5), ["ant", "cat"], "sketches")
        report = evaluate_vectors(PHOTOS, sketches, SPLIT, "grid-1", OPTIONS, {"spy": spy})
        assert seen == [(2, 2)]
        assert report.score("spy", "mAP@all") == report.score("one-to-one", "mAP@all")

    @pytest.mark.parametrize(
        ("name", "positions", "problem"),
        [
            ("one-to-many", np.arange(4)[None], "'one-to-many' is built in"),
            ("chance", np.arange(4)[None], "'chance' is built in"),
            ("mine", np.arange(4), r"'mine' gave int64 of shape \(4,\)"),
            ("mine", np.arange(4.0)[None], "'mine' gave float64"),
            ("mine", np.array([[0, 0, 1, 2]]), "'mine' holds a photo twice"),
        ],
    )
    def test_methods_that_do_not_fit_are_refused_by_name(self, name, positions, problem):
        with pytest.raises(InvalidValue, match=problem):
            evaluate_vectors(PHOTOS, SKETCHES, SPLIT, "grid-1", OPTIONS, {name: lambda *_: positions})


class TestNotes:
    def test_sketches_without_photos_are_left_out_and_counted(self):
        sketches = vectors(directions(0, 5, 7), ["ant", "cat", "cat"], "sketches", ("Left out: x.",))
        report = evaluate_vectors(PHOTOS, sketches, SPLIT, "grid-1", OPTIONS)
        assert report.n_queries == 1
        assert report.score("one-to-one", "mAP@all") == pytest.approx(5 / 6)
        assert report.notes == ("Left out: x.", "2 sketches left out: the gallery has no photo of their category.")

    def test_categories_outside_the_split_stay_and_are_counted(self):
        photos = vectors(directions(10, 40, 20, 60), ["ant", "ant", "dog", "cow"])
        report = evaluate_vectors(photos, SKETCHES, SPLIT, "grid-1", OPTIONS)
        assert report.n_gallery == 4
        assert report.score("one-to-one", "mAP@all") == pytest.approx(5 / 6)
        assert report.notes == ("The gallery holds 2 categories outside the split's unseen ones.",)

    def test_photos_that_were_left_out_are_noted(self):
        photos = replace(PHOTOS, notes=("Left out: a photo.",))
        sketches = replace(SKETCHES, notes=("Left out: a sketch.",))
        report = evaluate_vectors(photos, sketches, SPLIT, "grid-1", OPTIONS)
        assert report.notes == ("Left out: a photo.", "Left out: a sketch.")

    def test_no_sketch_with_a_photo_is_an_error(self, make_encoder, progress):
        sketches = vectors(directions(0), ["cat"], "sketches")
        with pytest.raises(DatasetError, match=r"No sketch has a photo.*folders named like"):
            evaluate_vectors(PHOTOS, sketches, SPLIT, "grid-1", OPTIONS)
        store = MemoryGalleryStore()
        serve(store, PHOTOS, BY_CATEGORY)
        with pytest.raises(DatasetError, match="No sketch has a photo"):
            evaluate_gallery(store, "cats", sketches, SPLIT, make_encoder(), OPTIONS, progress)

    def test_folders_may_be_spelt_otherwise_than_the_split(self, make_encoder, progress):
        photos = vectors(PHOTOS.vectors, ["Hot-Air_Balloon", "Hot-Air_Balloon", "bee", "bee"])
        sketches = vectors(SKETCHES.vectors, ["hot air balloon"], "sketches")
        store = MemoryGalleryStore()
        serve(store, photos, BY_CATEGORY)
        split = Split("tiny", (), ("hot air balloon", "bee"))
        report = evaluate_gallery(store, "cats", sketches, split, make_encoder(), OPTIONS, progress)
        assert precisions(report) == {"hot air balloon": 1.0}
        assert report.notes == ()


class TestGallery:
    @pytest.fixture(params=["memory", "milvus_lite"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GalleryStore]:
        store = MemoryGalleryStore() if request.param == "memory" else MilvusGalleryStore(str(tmp_path / "lite"))
        yield store
        store.close()

    def test_its_figures_are_those_of_the_vectors(self, store, make_encoder, progress):
        rng = np.random.default_rng(5)
        names = [f"category {number}" for number in range(6)]
        centres = rng.normal(size=(6, 16))
        photos = vectors(normalise(np.repeat(centres, 30, 0) + rng.normal(size=(180, 16))), sorted(names * 30))
        sketches = vectors(normalise(np.repeat(centres, 12, 0) + rng.normal(size=(72, 16))), sorted(names * 12))
        split = Split("six", (), tuple(names))
        options = EvaluateOptions("drawn", 64, n_clusters=9, seed=3)
        straight = evaluate_vectors(photos, sketches, split, "grid-1", options)
        embeddings = Embeddings(tuple(str(path) for path in photos.paths), photos.vectors)
        serve(store, photos, fit_clusters(embeddings, 9, seed=3))
        searched = evaluate_gallery(store, "cats", sketches, split, make_encoder(), options, progress)

        assert 0.2 < straight.score("one-to-one", "mAP@all") < straight.score("one-to-many", "mAP@all") < 0.95
        for row, other in zip(searched.rows, straight.rows, strict=True):
            assert row.method == other.method
            assert row.values == pytest.approx(other.values, abs=1e-6)
            for name, ends in row.intervals.items():
                assert ends == pytest.approx(other.intervals[name], abs=1e-6)
        assert precisions(searched) == pytest.approx(precisions(straight), abs=1e-6)
        assert {one.sketch for one in searched.examples} == {one.sketch for one in straight.examples}
        for example, twin in zip(searched.examples, straight.examples, strict=True):
            assert [hit.uri for hit in example.hits] == [hit.uri for hit in twin.hits]
        for field in ("n_queries", "n_gallery", "n_categories", "n_clusters", "split_digest", "notes", "seen", "drawn"):
            assert getattr(searched, field) == getattr(straight, field)

    def test_a_gallery_above_the_limit_of_one_search_is_ranked_whole(self, make_encoder, progress):
        rng = np.random.default_rng(6)
        n = MAX_LIMIT + 100
        photos = vectors(normalise(rng.normal(size=(n, 4))), [("ant", "bee")[row % 2] for row in range(n)])
        sketches = vectors(normalise(rng.normal(size=(2, 4))), ["ant", "bee"], "sketches")
        assignments = np.arange(n) % 2
        table = ClusterTable(np.eye(4, dtype=np.float32)[:2], np.bincount(assignments), np.float32([3, 3]), ((), ()))
        store = MemoryGalleryStore()
        serve(store, photos, Clustering(table, assignments))
        report = evaluate_gallery(store, "cats", sketches, SPLIT, make_encoder(), OPTIONS, progress)

        one = rank_one_to_one(sketches.vectors, photos.vectors)
        many = rank_one_to_many(sketches.vectors, photos.vectors, table.centroids, assignments, 0.8)
        measured = measure_rankings(Rankings({"one-to-one": one, "one-to-many": many}, 2), photos, sketches, OPTIONS)
        expected = make_report(measured, SPLIT, "grid-1", OPTIONS)
        assert report.n_gallery == n
        for row, other in zip(report.rows, expected.rows, strict=True):
            assert row.values == pytest.approx(other.values, abs=1e-5)

    def test_another_encoder_is_refused(self, make_encoder, progress):
        store = MemoryGalleryStore()
        serve(store, PHOTOS, BY_CATEGORY)
        with pytest.raises(EncoderMismatch, match=r"grid-1.*grid-2"):
            evaluate_gallery(store, "cats", SKETCHES, SPLIT, make_encoder("grid-2"), OPTIONS, progress)

    @pytest.mark.parametrize("change", ["rebuilt", "shrunk"])
    def test_a_gallery_that_changes_meanwhile_is_told(self, make_encoder, progress, change):
        class ChangingStore(MemoryGalleryStore):
            searches = 0

            def search(self, info, queries, cluster_ids, limit, where=None, **how):
                found = super().search(info, queries, cluster_ids, limit, where, **how)
                self.searches += 1
                if self.searches == 2 and change == "rebuilt":
                    serve(self, PHOTOS, BY_CATEGORY)
                elif self.searches == 1 and change == "shrunk":
                    self.delete(info, found[0].ids[:1])
                return found

        store = ChangingStore()
        serve(store, PHOTOS, BY_CATEGORY)
        sketches = vectors(directions(0, 10), ["ant", "bee"], "sketches")
        with pytest.raises(StoreError, match=r"'cats' changed while it was evaluated.*again"):
            evaluate_gallery(store, "cats", sketches, SPLIT, make_encoder(), OPTIONS, progress)


class TestEncoding:
    def test_pictures_are_encoded_with_their_categories(self, photos, make_encoder, progress):
        images = [LabelledImage(path, "ant") for path in sorted(photos.iterdir())]
        encoder = make_encoder()
        found = encode_images(images, encoder, sketches=False, size=64, progress=progress)
        assert found.vectors.shape == (10, 48)
        assert found.categories == ("ant",) * 10
        assert found.paths == tuple(image.path for image in images)
        assert found.notes == ()
        assert progress.stages == [["Encoding photos", 10, 10]]

    def test_sketches_are_normalised_to_the_size(self, tmp_path, make_encoder, progress):
        drawing = Image.new("L", (200, 120), "white")
        drawing.paste(0, (50, 20, 60, 100))
        drawing.save(tmp_path / "sketch.png")
        encoder = make_encoder()
        images = [LabelledImage(tmp_path / "sketch.png", "ant")]
        encode_images(images, encoder, sketches=True, size=80, progress=progress)
        assert encoder.sizes == [(80, 80)]
        assert progress.stages == [["Encoding sketches", 1, 1]]

    def test_photos_are_decoded_as_ingest_decodes_them(self, draw, tmp_path, make_encoder, progress):
        path = draw(tmp_path / "large.jpg", 1, (640, 480))
        encoder = make_encoder()
        encode_images([LabelledImage(path, "ant")], encoder, sketches=False, size=64, progress=progress)
        assert encoder.sizes == [(160, 120)]

    def test_many_pictures_go_in_batches(self, photos, make_encoder, progress):
        images = [LabelledImage(photos / f"{row % 10:02d}.png", str(row)) for row in range(100)]
        encoder = make_encoder()
        found = encode_images(images, encoder, sketches=False, size=64, progress=progress)
        assert encoder.batches == [64, 36]
        assert found.categories == tuple(str(row) for row in range(100))
        np.testing.assert_array_equal(found.vectors[:10], found.vectors[90:])

    def test_bad_pictures_are_left_out_and_noted(self, photos, make_encoder, progress):
        (photos / "04.png").write_text("no picture")
        images = [LabelledImage(path, path.stem) for path in sorted(photos.iterdir())]
        found = encode_images(images, make_encoder(), sketches=False, size=64, progress=progress)
        assert "04" not in found.categories
        assert len(found.vectors) == len(found.paths) == len(found.categories) == 9
        assert len(found.notes) == 1
        assert "04.png" in found.notes[0]

    def test_none_but_bad_pictures_are_an_error(self, tmp_path, make_encoder, progress):
        (tmp_path / "bad.png").write_text("no picture")
        with pytest.raises(DatasetError, match=r"None of the 1 pictures.*bad\.png"):
            encode_images(
                [LabelledImage(tmp_path / "bad.png", "ant")], make_encoder(), sketches=False, size=64, progress=progress
            )
        with pytest.raises(DatasetError, match="None of the 0 pictures"):
            encode_images([], make_encoder(), sketches=False, size=64, progress=progress)
