"""Page text becomes a caption only if it describes; the best source wins and is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from x2i.models.abilities import Caption, PageText
from x2i.models.classic.alt_text import AltText, Cleaned, choose, clean, describes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  A  cat \n on a\tmat ", "A cat on a mat"),
        ("Caf&eacute; &amp;amp; bar", "Café & bar"),
        ("a&nbsp;red&#32;house", "a red house"),
        ("<b>A dog</b> in <i>snow</i>", "A dog in snow"),
        ('"A quiet lake"', "A quiet lake"),
        ("\u201cA quiet lake\u201d", "A quiet lake"),
        ('"Yes" and "No"', '"Yes" and "No"'),
        ("zero\u200bwidth\ufeff text", "zerowidth text"),
        ("bell\x07 tower", "bell tower"),
        ("| Home page - ", "Home page"),
        ("2 < 3 and 4 > 1", "2 < 3 and 4 > 1"),
        ("e\u0301clair", "\u00e9clair"),
    ],
)
def test_markup_and_noise_are_cleaned_away(text, expected):
    assert clean(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "IMG_1234.jpg",
        "IMG_1234",
        "DSC00017 copy",
        "dscn 0042",
        "Screenshot 2024-01-02 at 10.20.30",
        "my holiday_photo 3.JPG",
        "summer-house-garden.png",
        "https://example.com/a.jpg",
        "www.example.com",
        "image",
        "Photo of",
        "A picture of the",
        "An image",
        "image 12",
        "Untitled",
        "placeholder image",
        "No caption.",
        "Click to enlarge",
        "cat",
        "42",
        "... --- ...",
        "a b c",
    ],
)
def test_texts_that_describe_nothing_are_not_captions(text):
    assert not describes(clean(text))


@pytest.mark.parametrize(
    "text",
    [
        "A cup of coffee",
        "Photo of a red bicycle",
        "Image of the moon taken in 1969",
        "red bicycle",
        "Boeing 747 on the runway.",
        "一只猫坐在椅子上",
        "Кошка на окне",
        "St. Paul's Cathedral, London (2.jpg shows the dome)",
    ],
)
def test_texts_that_describe_are_captions(text):
    assert describes(clean(text))


@pytest.mark.parametrize(
    ("text", "name"), [("A photograph: city", ""), ("Image - harbor", ""), ("Photo of city", "city.jpg")]
)
def test_boilerplate_and_one_word_describe_nothing(text, name):
    assert not describes(text, name)
    assert describes("Photo of city", "harbor.jpg")
    assert describes("A photograph: city at night", "city.jpg")


@pytest.mark.parametrize("words", ["cat", "<sks> dog", "IMG_1.jpg", "  two   spaces", "&amp;"])
def test_words_written_for_an_image_are_kept_as_they_are_unless_asked(words):
    text = PageText(alt=words, title="A longer title of a page", text_source="sidecar")
    assert choose(text) == Caption(words, "sidecar")
    assert choose(text, Cleaned.ALL) == Caption("A longer title of a page", "title")
    assert choose(PageText(alt=words), Cleaned.NONE) == Caption(words, "alt")


def test_alt_wins_over_longer_figcaption_if_it_is_long_enough():
    alt = "A ginger cat sleeps on the warm bonnet of a car"
    assert choose(PageText(alt=alt, figcaption=alt + ", which it does every evening")) == Caption(alt, "alt")


def test_a_short_alt_gives_way_to_a_telling_figcaption():
    text = PageText(alt="the cat", figcaption="A ginger cat sleeps on the bonnet of a car")
    assert choose(text) == Caption("A ginger cat sleeps on the bonnet of a car", "figcaption")


def test_a_useless_alt_falls_back_to_the_title():
    assert choose(PageText(alt="IMG_2041.JPG", title="Harbor at night")) == Caption("Harbor at night", "title")


def test_an_image_without_words_has_no_caption():
    assert AltText().caption([None, None], [PageText(), PageText(alt="a red house")]) == [
        None,
        Caption("a red house", "alt"),
    ]


def test_a_very_long_text_is_cut_between_words():
    text = clean("word " * 1000)
    assert len(text) <= 1000
    assert text.endswith("word")


@given(st.text(max_size=200))
def test_cleaning_is_stable_and_leaves_one_line(text):
    cleaned = clean(text)
    assert "\n" not in cleaned
    assert "  " not in cleaned
    assert cleaned == cleaned.strip()
