"""The card and the Croissant document: what they must hold, and hostile words that must stay words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from x2i.exporters.card import NO_CONTACT, card, describe
from x2i.exporters.card_data import Publication, license_address
from x2i.exporters.configs import configs
from x2i.exporters.croissant import VERSION, croissant
from x2i.store.commits import Counts

EVIL = "CC | --- |\n\n<script>alert(1)</script> [x](javascript:1) `code` ---\nlicense: mit"


def facts(**changes: Any) -> dict[str, Any]:
    plain = {"task": "edit", "num_inputs": 1, "image_names": ["input_1.jpg", "output.jpg"], "samples": 10}
    return {**plain, "sha256": "0" * 64, "bytes": 1000, **changes}


def published(**changes: Any) -> Publication:
    plain: dict[str, Any] = {"name": "data", "url": "https://x.example/data", "creator": "A lab", "contact": "a@b.c"}
    return Publication(**{**plain, "date": "2026-01-31", "version": "1.0.0", **changes})


def front_matter(text: str) -> dict[str, Any]:
    """What lies between the first line of three dashes and the next one, as the Hub reads it."""
    return yaml.safe_load(re.split(r"^---$", text, flags=re.MULTILINE)[1])


def test_configs_have_one_set_of_members_each_and_say_where_their_shards_are() -> None:
    png = ["input_1.jpg", "output.png"]
    found = configs(
        [
            ("edit-1in-00000", facts()),
            ("edit-1in-00001", facts(image_names=png)),
            ("edit-2in-00000", facts(num_inputs=2, image_names=["input_1.jpg", "input_2.jpg", "output.jpg"])),
            ("pose-1in-00000", facts(task="pose")),
            ("pose-1in-00001", facts(task="pose", samples=5)),
            ("named-otherwise", facts(task="depth")),
        ]
    )
    assert {config.name: config.pattern for config in found} == {
        "edit-1in-jpg-jpg": "",
        "edit-1in-jpg-png": "",
        "edit-2in": "shards/edit-2in-*.tar",
        "pose": "shards/pose-1in-*.tar",
        "depth": "",
    }
    assert {config.name: config.samples for config in found}["pose"] == 15
    matter = front_matter(card(published(), found))
    paths = {entry["config_name"]: entry["data_files"][0]["path"] for entry in matter["configs"]}
    assert paths["edit-1in-jpg-png"] == ["shards/edit-1in-00001.tar"]
    assert [entry["config_name"] for entry in matter["configs"] if entry.get("default")] == ["pose"]


def test_the_card_tells_licenses_funnel_recipes_policy_and_contact() -> None:
    steps = {"crawl": Counts(60, {"robots_disallowed": 3, "opt_out": 2}, {"timeout": 35})}
    publication = published(
        licenses={"": 4, "CC0-1.0": 6},
        recipes={"edit 3": 10},
        steps=steps,
        ingest=steps["crawl"],
        robots=True,
        user_agents=("bot/1.0 (+https://x.example)",),
    )
    text = card(publication, configs([("edit-1in-00000", facts())]))
    for words in (
        "| (not stated) | 4 |",
        "| CC0-1.0 | 6 |",
        "| `crawl` | 100 | 60 | timeout 35,",
        "| `edit` | 3 | 10 |",
    ):
        assert words in text
    assert "robots.txt was obeyed" in text
    assert "robots_disallowed 3, opt_out 2" in text
    assert "write to a@b.c" in text
    assert NO_CONTACT in card(published(contact=""), configs([("edit-1in-00000", facts())]))
    ignored = card(published(robots=False), configs([("edit-1in-00000", facts())]))
    assert "robots.txt was not obeyed" in ignored


def test_a_license_is_declared_only_where_all_images_share_one() -> None:
    one = configs([("edit-1in-00000", facts())])
    cc0 = {"CC0-1.0": 3, "http://creativecommons.org/publicdomain/zero/1.0/": 4}
    assert front_matter(card(published(licenses=cc0), one))["license"] == "cc0-1.0"
    assert front_matter(card(published(licenses={"CC0-1.0": 3, "": 1}), one))["license"] == "other"
    assert license_address("made up") == ""
    assert croissant(published(licenses=cc0), one, "")["license"] == [
        "https://creativecommons.org/publicdomain/zero/1.0/"
    ]


def test_hostile_names_cannot_break_out_of_the_card() -> None:
    publication = published(name=EVIL, licenses={EVIL: 2}, recipes={f"{EVIL} 1": 1}, contact=EVIL, robots=True,
                            user_agents=(EVIL,), steps={"crawl": Counts(1)})  # fmt: skip
    text = card(publication, configs([("edit-1in-00000", facts())]))
    assert front_matter(text)["license"] == "other"
    assert front_matter(text)["pretty_name"] == " ".join(EVIL.split())
    body = re.split(r"^---$", text, maxsplit=2, flags=re.MULTILINE)[2]
    assert "<script>" not in body
    assert "](javascript" not in re.sub(r"`[^`\n]*`", "", body)  # nothing is a link inside a code span
    licenses = re.search(r"\| license \| samples \|\n(.*?)\n\n", body, re.DOTALL)
    assert licenses is not None
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in licenses[1].splitlines()] == [3, 3]


def test_croissant_has_what_the_specification_requires() -> None:
    pose = facts(task="pose", num_inputs=0, image_names=["output.png"])
    found = configs([("edit-1in-00000", facts()), ("pose-0in-00000", pose)])
    require_croissant(croissant(published(licenses={"CC0-1.0": 1}), found, describe(published(), found)))


def require_croissant(document: dict[str, Any]) -> None:
    """Asserts the required properties of Croissant 1.0, unique ids, and that every reference has its target."""
    required = ("@context", "@type", "conformsTo", "description", "license", "name", "url", "creator", "datePublished")
    assert not [name for name in required if not document.get(name)]
    assert (document["@type"], document["conformsTo"]) == ("sc:Dataset", VERSION)
    files = {entry["@id"]: entry for entry in document["distribution"]}
    sets = {entry["@id"]: entry for entry in document["recordSet"]}
    fields = {field["@id"]: field for entry in sets.values() for field in entry["field"]}
    assert len(files) == len(document["distribution"])
    assert len({**files, **sets, **fields}) == len(files) + len(sets) + len(fields)
    for entry in files.values():
        if entry["@type"] == "cr:FileObject":
            assert entry["contentUrl"]
            assert re.fullmatch(r"[0-9a-f]{64}", entry["sha256"])
            assert re.fullmatch(r"\d+ B", entry["contentSize"])
        else:
            assert entry["@type"] == "cr:FileSet"
            assert entry["includes"]
            assert [files[place["@id"]]["@type"] for place in entry["containedIn"]]
        assert re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", entry["encodingFormat"])
    for entry in sets.values():
        assert entry["@type"] == "cr:RecordSet"
        assert entry["key"]["@id"] in fields
    for field in fields.values():
        assert field["@type"] == "cr:Field"
        assert field["dataType"] in ("sc:Text", "sc:ImageObject")
        assert files[field["source"]["fileSet"]["@id"]]["@type"] == "cr:FileSet"
        assert len(field["source"]["extract"]) == 1
        if "references" in field:
            assert field["references"]["field"]["@id"] in fields
        if "transform" in field["source"]:
            suffix = field["source"]["fileSet"]["@id"].rsplit("-", 2)[1:]
            assert re.search(field["source"]["transform"]["regex"], f"x.{'.'.join(suffix)}")


def require_valid(document: dict[str, Any], folder: Path) -> None:
    """Asserts that the reference implementation of Croissant finds no error and no warning but of what is optional."""
    import mlcroissant

    path = folder / "croissant.json"
    path.write_text(json.dumps(document))
    dataset = mlcroissant.Dataset(jsonld=path)  # raises ValidationError
    assert not dataset.metadata.ctx.issues.errors
    assert all("is recommended" in warning for warning in dataset.metadata.ctx.issues.warnings)


def test_the_reference_validator_accepts_the_document(tmp_path: Path) -> None:
    three = facts(task="few", num_inputs=2, image_names=["input_1.jpg", "input_2.png", "output.jpg"])
    found = configs([("edit-1in-00000", facts()), ("few-2in-00000", three)])
    document = croissant(published(licenses={"CC0-1.0": 1}), found, "what it is")
    require_valid(document, tmp_path)
    for field in document["recordSet"][1]["field"]:
        field.pop("references", None)
    document["recordSet"][0]["field"][0]["source"] = {"fileSet": {"@id": "nowhere"}, "extract": {"jsonPath": "$.key"}}
    with pytest.raises(Exception, match="nowhere"):
        require_valid(document, tmp_path)


def test_the_key_is_read_out_of_member_names() -> None:
    document = croissant(published(), configs([("edit-1in-00000", facts())]), "")
    sets = {entry["@id"]: entry for entry in document["recordSet"]}
    source = sets["edit-input_1"]["field"][0]["source"]
    assert source["fileSet"]["@id"] == "edit-input_1-jpg"
    found = re.search(source["transform"]["regex"], "a-1.input_1.jpg")
    assert found is not None
    assert found[1] == "a-1"
