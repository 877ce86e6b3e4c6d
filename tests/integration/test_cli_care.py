"""Status, verify, export, import and attach at the command line: a real model, real embedded Milvus, real files."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from pymilvus import DataType, MilvusClient

from sbka_milvus import SketchSearch
from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.shards import list_shards
from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.factory import ingest_into, open_gallery
from sbka_milvus.pipelines.import_model import import_model
from sbka_milvus.progress import SilentProgress
from sbka_milvus.settings import Settings
from sbka_milvus.store import MilvusGalleryStore

Sbka = Callable[..., Any]
PHOTOS = 40


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, photos, a sketch, and a gallery of them."""
    root = tmp_path_factory.mktemp("care")
    torch.manual_seed(0)
    request = BuildRequest(BackboneSpec.parse("timm:test_resnet"), pretrained=False, size=64)
    import_model(request, root / "model", "tiny", SilentProgress())
    for number in range(PHOTOS):
        cells = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        path = root / "photos" / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(cells).resize((96, 96), Image.Resampling.NEAREST).save(path)
    sketch = np.full((80, 80), 255, dtype=np.uint8)
    sketch[20:60, 38:42] = 0
    Image.fromarray(sketch).save(root / "sketch.png")
    settings = Settings(workspace=root / "workspace")
    ingest_into([root / "photos"], root / "gallery", settings, SilentProgress(), model=root / "model", name="cats")
    return root


@pytest.fixture
def gallery(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it; nothing runs in the workspace."""
    monkeypatch.setenv("SBKA_WORKSPACE", str(tmp_path / "workspace"))
    shutil.copytree(made / "gallery", tmp_path / "gallery")
    return tmp_path / "gallery"


class TestStatus:
    def test_of_a_gallery_that_is_well(self, sbka: Sbka, gallery: Path) -> None:
        found = sbka("status", "-g", gallery, "--json").json()
        told = found["gallery"]
        assert (told["model_name"], told["name"], told["has_model"]) == ("tiny", "cats", True)
        assert (told["shards"]["files"], told["shards"]["rows"]) == (1, PHOTOS)
        assert told["shards"]["bytes"] > 0
        assert (told["served"]["version"], told["served"]["photos"], told["served"]["complete"]) == (1, PHOTOS, True)
        assert (told["behind"], told["problem"], told["place"], told["quarantined"]) == (False, "", "embedded", 0)
        assert (found["up"], found["jobs"]) == (None, [])
        shown = sbka("status", "-g", gallery)
        assert shown.code == 0
        assert "belong together" in shown.out
        assert "does not run" in shown.out

    def test_of_one_that_was_indexed_with_other_options(self, sbka: Sbka, gallery: Path, made: Path) -> None:
        assert sbka("ingest", made / "photos", "-g", gallery, "--clusters", "3").code == 0
        told = sbka("status", "-g", gallery, "--json").json()["gallery"]
        assert (told["served"]["clusters"], told["behind"]) == (3, False)

    def test_of_shards_that_wait(self, sbka: Sbka, gallery: Path) -> None:
        opened = Gallery.open(gallery)
        (shard,) = list_shards(opened.shard_folder)
        shutil.copy(shard, shard.with_name("photos-000002-00000000.parquet"))
        told = sbka("status", "-g", gallery, "--json").json()["gallery"]
        assert told["behind"] is True
        assert "--repair" in told["remedy"]

    def test_where_milvus_is_away(self, sbka: Sbka, gallery: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from sbka_milvus.settings import load_settings

        monkeypatch.setenv("SBKA_MILVUS__URI", "http://127.0.0.1:1")
        monkeypatch.setenv("SBKA_MILVUS__TIMEOUT_S", "0.5")
        load_settings.cache_clear()
        try:
            told = sbka("status", "-g", gallery, "--json").json()["gallery"]
            shown = sbka("status", "-g", gallery)
        finally:
            load_settings.cache_clear()
        assert "cannot be reached" in told["problem"]
        # What was served is known from the folder.
        assert (told["served"]["version"], told["served"]["photos"], told["served"]["complete"]) == (1, PHOTOS, None)
        assert shown.code == 0
        assert "by the folder's records" in shown.out

    def test_of_one_that_was_never_indexed(self, sbka: Sbka, tmp_path: Path) -> None:
        gallery = Gallery.create_or_open(tmp_path / "new", "grid-1")
        told = sbka("status", "-g", gallery.root, "--json").json()["gallery"]
        assert (told["served"], told["versions"], told["behind"]) == (None, [], False)
        assert "ingest" in told["remedy"]
        assert not gallery.milvus_folder.exists()

    def test_without_a_gallery_says_what_runs(self, sbka: Sbka) -> None:
        assert sbka("status", "--json").json()["gallery"] is None

    def test_of_a_folder_that_is_none(self, sbka: Sbka, tmp_path: Path) -> None:
        ran = sbka("status", "-g", tmp_path)
        assert ran.code == 1
        assert "is no gallery" in ran.err

    def test_loads_no_torch(self, gallery: Path) -> None:
        program = (
            "import sys\nfrom sbka_milvus.cli import app\n"
            f"try:\n    app(['status', '-g', {str(gallery)!r}])\nexcept SystemExit as stop:\n    assert not stop.code\n"
            "sys.exit(bool({'torch', 'timm', 'open_clip'} & set(sys.modules)))"
        )
        found = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
        )
        assert found.returncode == 0, found.stderr


class TestVerify:
    def test_clean_has_the_code_0(self, sbka: Sbka, gallery: Path) -> None:
        ran = sbka("verify", "-g", gallery, "--files", "--json")
        assert ran.code == 0, ran.err
        told = ran.json()
        assert (told["clean"], told["photos"], told["milvus_rows"], told["files_checked"]) == (
            True,
            PHOTOS,
            PHOTOS,
            PHOTOS,
        )
        assert told["behind"] is False

    def test_findings_have_the_code_5_until_they_are_repaired(self, sbka: Sbka, gallery: Path, made: Path) -> None:
        with MilvusGalleryStore(str(gallery / "milvus")) as store:
            info = store.served("cats")
            rows = next(store.scan(info))
            store.delete(info, rows.embeddings.ids[:2])
        ran = sbka("verify", "-g", gallery, "--json")
        assert ran.code == 5
        counts = {finding["kind"]: finding["count"] for finding in ran.json()["findings"]}
        assert counts["row_missing"] == 2
        shown = sbka("verify", "-g", gallery)
        assert shown.code == 5
        assert "row_missing" in shown.out
        assert rows.embeddings.uris[0] in shown.out

        repaired = sbka("verify", "-g", gallery, "--repair")
        assert repaired.code == 0, repaired.err
        assert "Version 2 was built" in repaired.out
        assert sbka("verify", "-g", gallery).code == 0
        with SketchSearch.open(gallery) as engine:
            assert len(engine(made / "sketch.png", k=PHOTOS, n_probe=100)) == PHOTOS

    def test_a_gallery_that_cannot_be_looked_at_has_the_code_1(self, sbka: Sbka, tmp_path: Path) -> None:
        assert sbka("verify", "-g", tmp_path / "nowhere").code == 1


class TestThereAndBack:
    def test_an_export_makes_the_same_gallery(self, sbka: Sbka, gallery: Path, made: Path, tmp_path: Path) -> None:
        path = tmp_path / "out.parquet"
        ran = sbka("export", "-g", gallery, "-o", path, "--json")
        assert ran.code == 0, ran.err
        assert ran.json()["photos"] == PHOTOS
        assert all(cluster is not None for cluster in pq.read_table(path)["cluster_id"].to_pylist())

        arguments = ["import", path, "-g", tmp_path / "copy", "--model", made / "model", "--check", "3", "--json"]
        taken = sbka(*arguments)
        assert taken.code == 0, taken.err
        report = taken.json()["import"]
        assert (report["imported"], report["checked"]) == (PHOTOS, 3)
        assert report["worst_cosine"] > 0.999
        again = sbka(*arguments).json()
        assert (again["import"]["imported"], again["index"]["rebuilt"]) == (0, False)
        assert sbka("verify", "-g", tmp_path / "copy", "--hash").code == 0
        hits = [
            [(hit.uri, round(hit.score, 5)) for hit in engine(made / "sketch.png", k=5)]
            for engine in map(SketchSearch.open, (gallery, tmp_path / "copy"))
        ]
        assert hits[0] == hits[1]
        # An ingest of the photos finds nothing to do: the export said what their files were.
        ingested = sbka("ingest", made / "photos", "-g", tmp_path / "copy", "--json").json()
        assert ingested["embed"]["unchanged"] == PHOTOS

    def test_a_new_gallery_needs_a_model(self, sbka: Sbka, gallery: Path, tmp_path: Path) -> None:
        sbka("export", "-g", gallery, "-o", tmp_path / "out.npz")
        ran = sbka("import", tmp_path / "out.npz", "-g", tmp_path / "copy")
        assert ran.code == 1
        assert "--model" in ran.err
        assert not (tmp_path / "copy").exists()

    def test_a_bad_row_names_itself_and_its_file(self, sbka: Sbka, gallery: Path, tmp_path: Path) -> None:
        with np.load(self.exported(sbka, gallery, tmp_path)) as arrays:
            vectors = arrays["vector"].copy()
            vectors[7] = 0
            np.savez(tmp_path / "bad.npz", uri=arrays["uri"], vector=vectors)
        ran = sbka("import", tmp_path / "bad.npz", "-g", gallery)
        assert ran.code == 1
        assert "Row 8 of" in ran.err
        assert "bad.npz" in ran.err

    def test_nothing_is_half_exported(self, sbka: Sbka, gallery: Path, tmp_path: Path) -> None:
        ran = sbka("export", "-g", gallery, "-o", tmp_path / "out.parquet", "--where", "year > 3")
        assert ran.code == 1
        assert "year" in ran.err
        assert not list(tmp_path.glob("*.parquet"))

    def exported(self, sbka: Sbka, gallery: Path, folder: Path) -> Path:
        assert sbka("export", "-g", gallery, "-o", folder / "out.npz").code == 0
        return folder / "out.npz"


def test_an_import_that_is_killed_goes_on_where_it_was(gallery: Path, tmp_path: Path, sbka: Sbka) -> None:
    """Killed at its first shards: in the end every row is there once, and nothing is wrong."""
    rng = np.random.default_rng(0)
    dim = sbka("status", "-g", gallery, "--json").json()["gallery"]["dim"]
    uris = np.array([f"/far/{row}.jpg" for row in range(200)])
    np.savez(tmp_path / "many.npz", uri=uris, vector=rng.normal(size=(200, dim)))
    command = [sys.executable, "-m", "sbka_milvus", "import", str(tmp_path / "many.npz"), "-g", str(gallery)]
    environment = os.environ | {"SBKA_INGEST__SHARD_SIZE": "1"}
    folder = Gallery.open(gallery).shard_folder
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        while len(list_shards(folder)) < 4 and process.poll() is None:
            select.select([], [], [], 0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    held = len(list_shards(folder))
    assert 4 <= held < 201
    ran = sbka("import", tmp_path / "many.npz", "-g", gallery, "--json")
    assert ran.code == 0, ran.err
    report = ran.json()
    assert report["import"]["unchanged"] == held - 1
    assert report["import"]["imported"] == 200 - (held - 1)
    assert report["index"]["photos"] == PHOTOS + 200
    assert sbka("verify", "-g", gallery).code == 0


class TestAttach:
    @pytest.fixture
    def theirs(self, made: Path, tmp_path: Path) -> Path:
        """A collection of another program: keys are texts, vectors not of unit length, and a field that is its own."""
        with open_gallery(made / "gallery", Settings(workspace=tmp_path)) as (_, store):
            rows = [rows.embeddings for rows in store.scan(store.served("cats"))]
        uris = [uri for part in rows for uri in part.uris]
        vectors = np.concatenate([part.vectors for part in rows])
        place = tmp_path / "theirs.db"
        client = self.client(place)
        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("sku", DataType.VARCHAR, is_primary=True, max_length=20)
        schema.add_field("clip", DataType.FLOAT_VECTOR, dim=vectors.shape[1])
        schema.add_field("image_url", DataType.VARCHAR, max_length=500)
        schema.add_field("price", DataType.INT64)
        client.create_collection("products", schema=schema)
        params = MilvusClient.prepare_index_params()
        params.add_index("clip", index_type="FLAT", metric_type="IP")
        client.create_index("products", params)
        rows = [
            {"sku": f"sku-{row}", "clip": 2 * vectors[row], "image_url": uri, "price": row}
            for row, uri in enumerate(uris)
        ]
        client.insert("products", rows)
        self.away(client, place)
        return place

    def client(self, place: Path) -> Any:
        return MilvusClient(str(place))

    def away(self, client: Any, place: Path) -> None:
        from milvus_lite.server_manager import server_manager_instance

        client.close()
        server_manager_instance.release_server(str(place))

    def state(self, place: Path) -> str:
        client = self.client(place)
        client.load_collection("products")
        found = (
            client.list_collections(),
            client.describe_collection("products"),
            client.get_collection_stats("products"),
            sorted(client.query("products", limit=1000, output_fields=["*"]), key=lambda row: str(row["sku"])),
        )
        self.away(client, place)
        return repr(found)

    def test_hits_carry_their_keys_and_the_collection_is_as_it_was(
        self, sbka: Sbka, theirs: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SBKA_WORKSPACE", str(tmp_path / "workspace"))
        before = self.state(theirs)
        gallery = tmp_path / "beside"
        arguments = ["attach", "products", "-g", gallery, "--from", theirs, "--check", "2", "--json"]
        ran = sbka(*arguments, "--model", made / "model")
        assert ran.code == 0, ran.err
        report = ran.json()
        assert (report["attach"]["rows"], report["attach"]["added"], report["attach"]["checked"]) == (PHOTOS, PHOTOS, 2)
        assert report["index"]["photos"] == PHOTOS

        (result,) = sbka("search", made / "sketch.png", "-g", gallery, "-k", "5", "--json").json()
        with SketchSearch.open(made / "gallery") as engine:
            own = [hit.uri for hit in engine(made / "sketch.png", k=5)]
        assert [hit["uri"] for hit in result["hits"]] == own
        assert all(hit["key"].startswith("sku-") for hit in result["hits"])
        best = result["hits"][0]["key"]
        (filtered,) = sbka(
            "search", made / "sketch.png", "-g", gallery, "--where", f"milvus_key == '{best}'", "--json"
        ).json()
        assert [hit["key"] for hit in filtered["hits"]] == [best]
        assert best in sbka("search", made / "sketch.png", "-g", gallery, "-k", "5").out

        assert sbka(*arguments).json()["attach"]["unchanged"] == PHOTOS
        assert sbka("verify", "-g", gallery, "--files").code == 0
        assert self.state(theirs) == before

    def test_again_after_rows_came_and_went(
        self, sbka: Sbka, theirs: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SBKA_WORKSPACE", str(tmp_path / "workspace"))
        gallery = tmp_path / "beside"
        arguments = ["attach", "products", "-g", gallery, "--from", theirs, "--where", "price < 30", "--json"]
        first = sbka(*arguments, "--model", made / "model")
        assert first.json()["attach"]["rows"] == 30
        client = self.client(theirs)
        client.load_collection("products")
        (row,) = client.query("products", ids=["sku-5"], output_fields=["*"])
        client.delete("products", ids=["sku-3", "sku-4"])
        client.insert("products", [row | {"sku": "sku-new", "image_url": "/new.png", "price": 1}])
        self.away(client, theirs)
        again = sbka(*arguments).json()
        assert (again["attach"]["added"], again["attach"]["removed"], again["index"]["photos"]) == (1, 2, 29)
        assert sbka("verify", "-g", gallery).code == 0

    def test_what_does_not_fit_is_refused_before_anything_is_made(
        self, sbka: Sbka, theirs: Path, made: Path, tmp_path: Path
    ) -> None:
        gallery = tmp_path / "beside"

        def refused(said: str, *arguments: str | Path) -> None:
            ran = sbka("attach", *arguments, "-g", gallery, "--from", theirs)
            assert ran.code == 1
            assert said in ran.err
            assert not gallery.exists()

        refused("it has products", "product", "--model", made / "model")
        refused("--model", "products")
        refused("--vector-field", "products", "--model", made / "model", "--vector-field", "price")
        refused("--name", "products", "--model", made / "model", "--name", "products")
        torch.manual_seed(1)
        request = BuildRequest(BackboneSpec.parse("timm:test_efficientnet"), pretrained=False, size=64)
        import_model(request, tmp_path / "other", "other", SilentProgress())
        refused("the model's have", "products", "--model", tmp_path / "other")
