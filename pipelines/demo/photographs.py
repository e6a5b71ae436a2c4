"""The photographs of the demo site: which of scikit-image's bundled pictures, what they show, and their licenses."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

CC0 = "https://creativecommons.org/publicdomain/zero/1.0/"
PUBLIC_DOMAIN = "https://creativecommons.org/publicdomain/mark/1.0/"
NO_KNOWN_COPYRIGHT = "https://rightsstatements.org/vocab/NKC/1.0/"
UNSTATED = ""


@dataclass(frozen=True)
class DetailShot:
    """A second view of a photograph, made by crop, perspective and light, as one would photograph a detail of a scene.

    box: (left, top, right, bottom) as shares of the photograph. tilt: how far the corners move, as a share of the
    crop. gain, warmth: brightness factor, and red against blue. caption: what the detail shows.
    """

    box: tuple[float, float, float, float]
    caption: str
    tilt: float = 0.06
    gain: float = 1.0
    warmth: float = 1.0


@dataclass(frozen=True)
class Photograph:
    """One bundled file of `skimage.data`; `license` is what its documentation there states, "" if nothing."""

    file: str
    topic: str
    alt: str
    caption: str
    license: str
    details: tuple[DetailShot, ...] = field(default=())

    @property
    def path(self) -> Path:
        return Path(str(files("skimage") / "data" / self.file))

    @property
    def stem(self) -> str:
        return self.file.rsplit(".", 1)[0]


PHOTOGRAPHS = (
    Photograph(
        "astronaut.png",
        "space",
        "An astronaut in an orange flight suit smiles in front of a space shuttle model",
        "Eileen Collins, commander of a space shuttle, in her orange flight suit. Photograph: NASA.",
        PUBLIC_DOMAIN,
        (
            DetailShot(
                (0.15, 0.0, 0.72, 0.62), "The smiling face of an astronaut, seen a little from the side", gain=1.12
            ),
            DetailShot(
                (0.45, 0.05, 1.0, 0.75), "A space shuttle model beside an astronaut's shoulder", 0.05, 0.85, 1.1
            ),
        ),
    ),
    Photograph(
        "rocket.jpg",
        "space",
        "A tall rocket stands lit on its launch pad at dusk",
        "A Falcon 9 rocket with the DSCOVR satellite between four lightning towers. Photograph: SpaceX.",
        PUBLIC_DOMAIN,
        (DetailShot((0.22, 0.25, 0.85, 0.98), "A rocket under a blue evening sky", 0.05, 1.2, 1.05),),
    ),
    Photograph(
        "hubble_deep_field.jpg",
        "space",
        "Thousands of distant galaxies scattered over a black sky",
        "The Hubble eXtreme Deep Field, the farthest view into the universe. Image: NASA and ESA.",
        PUBLIC_DOMAIN,
        (
            DetailShot((0.05, 0.05, 0.55, 0.6), "Spiral galaxies in the upper left part of a deep field", 0.05, 1.15),
            DetailShot(
                (0.4, 0.35, 0.95, 0.95), "Small colored galaxies to the lower right of a deep field", 0.06, 0.9, 0.95
            ),
        ),
    ),
    Photograph(
        "moon.png",
        "space",
        "The gray surface of the moon with small craters and dark hollows",
        "Low light over the plains of the moon.",
        UNSTATED,
    ),
    Photograph(
        "chelsea.png",
        "animals",
        "A ginger tabby cat looks straight into the camera",
        "Chelsea the cat on her favorite blanket. Photograph: Stefan van der Walt.",
        CC0,
        (
            DetailShot((0.2, 0.05, 0.8, 0.85), "The face of a tabby cat from close up", 0.05, 1.15, 1.05),
            DetailShot((0.3, 0.1, 0.95, 0.75), "The green eyes of a tabby cat in cool light", 0.06, 0.9, 0.9),
        ),
    ),
    Photograph(
        "coffee.png",
        "things",
        "A cup of coffee on a saucer with a spoon on a wooden table",
        "An espresso in the afternoon. Photograph: Rachel Michetti.",
        CC0,
        (
            DetailShot((0.1, 0.05, 0.75, 0.9), "A coffee cup seen from closer and at an angle", 0.07, 1.1, 1.05),
            DetailShot((0.3, 0.2, 1.0, 1.0), "The rim of a coffee cup and the spoon on its saucer", 0.05, 0.85, 1.1),
        ),
    ),
    Photograph(
        "coins.png",
        "things",
        "Rows of ancient Greek coins on a dark surface",
        "Greek coins from Pompeii in the collection of the Brooklyn Museum.",
        NO_KNOWN_COPYRIGHT,
        (DetailShot((0.0, 0.0, 0.62, 0.66), "Three rows of ancient coins from close up", 0.05, 1.2),),
    ),
    Photograph(
        "clock_motion.png",
        "things",
        "A round clock face blurred into streaks by motion",
        "A clock, photographed from a moving hand. Photograph: Stefan van der Walt.",
        PUBLIC_DOMAIN,
    ),
    Photograph(
        "motorcycle_left.png",
        "things",
        "A red motorcycle stands in a workshop among tools and boxes",
        "Left view of a stereo pair. Middlebury 2014 stereo benchmark.",
        UNSTATED,
        (
            DetailShot((0.05, 0.25, 0.65, 1.0), "The rear wheel, seat and engine of a red motorcycle", 0.05, 1.15),
            DetailShot((0.35, 0.15, 0.95, 0.85), "The front wheel and headlamp of a red motorcycle", 0.06, 0.88, 1.08),
        ),
    ),
    Photograph(
        "motorcycle_right.png",
        "things",
        "A red motorcycle on a concrete floor in front of shelves",
        "Right view of a stereo pair. Middlebury 2014 stereo benchmark.",
        UNSTATED,
    ),
    Photograph(
        "page.png",
        "print",
        "A page of printed text in uneven light",
        "A scanned page of a book.",
        UNSTATED,
    ),
    Photograph(
        "text.png",
        "print",
        "Formulas written by hand on squared paper",
        "A test picture for finding corners in writing.",
        PUBLIC_DOMAIN,
    ),
    Photograph(
        "camera.png",
        "people",
        "A man in a dark coat looks through a film camera on a tripod",
        "The cameraman on the lawn. Photograph: Lav Varshney.",
        CC0,
        (
            DetailShot((0.2, 0.05, 0.78, 0.65), "A cameraman's head bent over a film camera", 0.05, 1.15),
            DetailShot((0.25, 0.2, 0.95, 0.95), "The legs of a tripod in front of distant towers", 0.06, 0.88),
        ),
    ),
    Photograph(
        "brick.png",
        "surfaces",
        "Long rows of dark paving bricks with pale joints",
        "Bricks, seen at a slight angle. From CC0 Textures.",
        CC0,
    ),
    Photograph(
        "grass.png",
        "surfaces",
        "A dense lawn of short grass seen from above",
        "Grass. Photograph: linolafett.",
        CC0,
    ),
    Photograph(
        "gravel.png",
        "surfaces",
        "Gray gravel with stones of many sizes",
        "Gravel path. From CC0 Textures.",
        CC0,
    ),
    Photograph(
        "retina.jpg",
        "medicine",
        "The back of a human eye with branching blood vessels",
        "Fundus photograph of a healthy left eye. Photograph: Mikael Häggström.",
        CC0,
        (
            DetailShot((0.1, 0.15, 0.65, 0.75), "The optic disc and branching vessels of a retina", 0.05, 1.15, 1.05),
            DetailShot((0.35, 0.25, 0.95, 0.85), "The dark middle of a retina from close up", 0.05, 0.9, 0.95),
        ),
    ),
    Photograph(
        "ihc.png",
        "medicine",
        "Stained tissue under a microscope, brown glands on a violet ground",
        "Colonic glands in an immunohistochemical staining. Center for Microscopy and Molecular Imaging.",
        NO_KNOWN_COPYRIGHT,
        (DetailShot((0.1, 0.2, 0.75, 0.85), "Pale tissue with violet nuclei between brown glands", 0.06, 1.12),),
    ),
    Photograph(
        "cell.png",
        "medicine",
        "A single bright cell floating in saline, seen by phase microscopy",
        "Quantitative phase image of a cell. Paul Müller and others.",
        CC0,
    ),
)
