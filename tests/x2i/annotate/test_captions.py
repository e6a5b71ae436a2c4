"""What is said about captions: faults of their words, and their language."""

from __future__ import annotations

import pytest

from tests.support.annotating import of_column
from x2i.annotate.caption_language import CaptionLanguage
from x2i.annotate.caption_quality import CaptionQuality
from x2i.errors import UserError
from x2i.reasons import Dropped, Reason

GOOD = (
    "A tabby cat looking straight into the camera",
    'A sign that says "I cannot help you" above a shop door',
    "A 24\" monitor on a desk, its owner's cat beside it",
    "“Closed”, reads the note on the window. A man walks by.",
    "A robot, drawn as an AI assistant would be in a film",
    "カメラを見ている縞模様の猫",
    "Der „Rote Platz“ in Moskau bei Nacht",
    "A sorry-looking dog sits in the rain",
)
FAULTS = {
    "is_file_name": ("IMG_0042.JPG", "holiday 2019 (3).png", "https://example.org/a.jpg", "DSC 1234"),
    "is_boilerplate": (
        "image placeholder",
        "Photo of a",
        "Sunset over sea - royalty free stock photo",
        "Red shoes, buy now with free shipping",
        "Click here to enlarge",
        "© 2024 Example Ltd. All rights reserved.",
    ),
    "is_refusal": (
        "I'm sorry, but I can't assist with that request.",
        "As an AI language model, I do not see pictures.",
        "I cannot identify the person in this image.",
        "Unfortunately, I am not able to view images.",
        "I\u2019m unable to describe it.",
        "Sorry, I can't help with that.",
        "Two people at a table. I cannot identify them.",
        "There is no image provided.",
    ),
    "has_unbalanced_quotes": ('A sign that says "No par', "“Open reads the door", "Un panneau « Sortie"),
}


def quality(*captions: str | None) -> list:
    return of_column(CaptionQuality(), "captions", [{"caption": caption} for caption in captions])


@pytest.mark.parametrize("caption", GOOD)
def test_a_sound_caption_has_no_fault(caption):
    (row,) = quality(caption)
    assert not any(row[fault] for fault in FAULTS), row
    assert row["letters"] >= 0.7


@pytest.mark.parametrize(("fault", "caption"), [(fault, text) for fault, texts in FAULTS.items() for text in texts])
def test_a_fault_is_named(fault, caption):
    (row,) = quality(caption)
    assert row[fault]


def test_lengths_are_counted_and_images_without_a_caption_are_told():
    row, empty, nothing = of_column(
        CaptionQuality(), "captions", [{"caption": "A cat, 2 dogs and a bird"}, {"caption": None}, None]
    )
    assert (row["words"], row["characters"]) == (4, 24)
    assert row["letters"] == pytest.approx(16 / 24)
    assert empty == nothing == Dropped(Reason.NO_CAPTION)


LANGUAGES = {
    "A tabby cat looking straight into the camera": "en",
    "Eine getigerte Katze blickt in die Kamera": "de",
    "Un chat tigré regarde l'appareil photo": "fr",
    "Un gato atigrado mira a la cámara": "es",
    "カメラを見ている縞模様の猫": "ja",
    "Полосатый кот смотрит в камеру": "ru",
}


def test_the_language_of_a_caption_is_told_with_its_probability():
    captions = [*LANGUAGES, None, "cat"]
    *rows, nothing, short = of_column(CaptionLanguage(), "captions", [{"caption": text} for text in captions])
    assert [row["language"] for row in rows] == list(LANGUAGES.values())
    assert all(row["probability"] > 0.5 for row in rows)
    assert nothing == Dropped(Reason.NO_CAPTION)
    assert short["probability"] < 0.2


def test_naming_the_languages_helps_with_few_words():
    few = [{"caption": "An astronaut in an orange suit"}, {"caption": "Ein Astronaut in Orange"}]
    rows = of_column(CaptionLanguage(set={"languages": ["en", "de", "fr"]}), "captions", few)
    assert [row["language"] for row in rows] == ["en", "de"]
    with pytest.raises(UserError, match="languages: 'klingon' is none of "):
        CaptionLanguage(set={"languages": ["klingon"]}).load()
