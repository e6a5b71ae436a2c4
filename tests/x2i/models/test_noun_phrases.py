"""The rule-based noun phrases, on captions of the kinds that people, pages and models write."""

from __future__ import annotations

import pytest

from x2i.models.classic.noun_phrases import noun_phrases
from x2i.models.registry import Ability, load

CAPTIONS = {
    # as people describe photographs
    "A man riding a brown horse next to two wooden fences.": ["man", "brown horse", "wooden fences"],
    "Two dogs play in the snow.": ["dogs", "snow"],
    "A black and white cat sleeping on a red sofa": ["black and white cat", "red sofa"],
    "A cup of coffee on a wooden table": ["cup", "coffee", "wooden table"],
    "An astronaut in an orange suit in front of a flag": ["astronaut", "orange suit", "flag"],
    "A group of people standing around a kitchen island.": ["people", "kitchen island"],
    "The woman holds a blue umbrella over her head.": ["woman", "blue umbrella", "head"],
    "A parked car covered with leaves": ["parked car", "leaves"],
    "A car parked next to a parking meter": ["car", "parking meter"],
    "A slice of pizza on a white plate with a fork.": ["pizza", "white plate", "fork"],
    "A bunch of bananas hanging from a tree": ["bananas", "tree"],
    "A traffic light hanging over a city street": ["traffic light", "city street"],
    "Several boats floating in the harbor at sunset.": ["boats", "harbor", "sunset"],
    "A teddy bear sitting on a bed": ["teddy bear", "bed"],
    "A hot dog with mustard and ketchup": ["hot dog", "mustard", "ketchup"],
    "The dog is running quickly across the grassy field": ["dog", "grassy field"],
    "A sleeping cat": ["sleeping cat"],
    "A little girl wearing pink sunglasses eats ice cream": ["little girl", "pink sunglasses", "ice cream"],
    "Children watch a train cross the bridge": ["children", "train cross", "bridge"],  # "cross" could be a noun
    "A bird flies over the ocean": ["bird", "ocean"],
    "An old stone building with tall windows": ["old stone building", "tall windows"],
    "A family of ducks swimming in a pond": ["family", "ducks", "pond"],
    "Three children are playing soccer": ["children", "soccer"],
    "The sky is blue.": ["sky"],
    "A man and a woman on a bench": ["man", "woman", "bench"],
    "A baby sitting in a high chair": ["baby", "high chair"],
    "A glass of orange juice": ["glass", "orange juice"],
    "An orange on a plate": ["orange", "plate"],
    "There are many books on the shelf": ["books", "shelf"],
    "A person skiing down a snowy slope": ["person", "snowy slope"],
    "A surfer rides a big wave": ["surfer", "big wave"],
    "A bathroom with a toilet, a sink and a mirror": ["bathroom", "toilet", "sink", "mirror"],
    "A dog's bowl beside the door": ["dog's bowl", "door"],
    "A kitchen with stainless steel appliances": ["kitchen", "stainless steel appliances"],
    "Zebras graze near a water hole": ["zebras", "water hole"],
    "A train traveling through a lush green valley": ["train", "lush green valley"],
    "People walk along the beach at dawn": ["people", "beach", "dawn"],
    "A stop sign at the corner of a street": ["stop sign", "corner", "street"],
    "A fire hydrant painted yellow": ["fire hydrant"],
    "A painted wooden door": ["painted wooden door"],
    "Someone is cutting a birthday cake with a knife": ["birthday cake", "knife"],
    "The clock on the tower shows noon": ["clock", "tower", "noon"],
    "A butterfly resting on a lily": ["butterfly", "lily"],
    "An elderly couple walking their dog": ["elderly couple", "dog"],
    # as pages write alternative texts
    "Red vintage car, side view": ["red vintage car"],
    "Photo of the Eiffel Tower at night": ["eiffel tower"],
    "Close-up of a bee on a flower": ["bee", "flower"],
    "Wooden spoon, bowl & whisk": ["wooden spoon", "bowl", "whisk"],
    "Men's leather shoes": ["men's leather shoes"],
    "View from the mountain": ["mountain"],
    "Black and white photograph": [],
    "Nikon camera with 50 mm lens": ["nikon camera", "mm lens"],
    # as models write captions
    "The image shows a close-up of a golden retriever.": ["golden retriever"],
    "In the background, there is a snow-covered mountain.": ["snow-covered mountain"],
    "A wooden desk, on which a laptop and two lamps stand.": ["wooden desk", "laptop", "lamps"],
    "The foreground features a stack of old books and a pair of reading glasses.": ["old books", "reading glasses"],
    "A young woman with curly hair is smiling at the camera": ["young woman", "curly hair", "camera"],
    "Sunlight streams through the stained glass windows": ["sunlight streams", "stained glass windows"],
    "A crowd of people gathered around a street performer": ["people", "street performer"],
    "He holds it in his left hand.": ["left hand"],
    "A lighthouse stands on a rocky cliff overlooking the sea": ["lighthouse", "rocky cliff", "sea"],
    "The cat\u2019s tail hangs off the edge of the windowsill": ["cat's tail", "windowsill"],
    "A plate filled with rice, beans and grilled chicken": ["plate", "rice", "beans", "grilled chicken"],
    "A dog, a dog and another dog": ["dog"],
    "Street signs are visible above the busy intersection": ["street signs", "busy intersection"],
    "A caf\u00e9 table outdoors": ["caf\u00e9 table outdoors"],
    "": [],
    "???": [],
}


@pytest.mark.parametrize("caption", CAPTIONS, ids=lambda caption: caption[:40])
def test_the_things_in_a_caption(caption):
    assert noun_phrases(caption) == CAPTIONS[caption]


def test_there_are_enough_captions_to_mean_something():
    assert len(CAPTIONS) > 60


def test_the_backend_takes_a_batch():
    extractor = load(Ability.PHRASE_EXTRACTOR, "classic:noun-phrases")
    assert extractor.phrases(["A red car", "A tree"]) == [["red car"], ["tree"]]
