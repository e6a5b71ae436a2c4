"""Recipes: how images, columns and relations become the samples of a task. One file per recipe."""

from x2i.recipes.base import Candidate, Picture, Recipe, Rendered
from x2i.recipes.canny_to_image import CannyToImage
from x2i.recipes.colorize import Colorize
from x2i.recipes.deblur import Deblur
from x2i.recipes.denoise import Denoise
from x2i.recipes.few_shot import FewShot
from x2i.recipes.image_to_canny import ImageToCanny
from x2i.recipes.inpaint import Inpaint
from x2i.recipes.referring_segmentation import ReferringSegmentation
from x2i.recipes.subject_pair import SubjectPair
from x2i.recipes.text_to_image import TextToImage

__all__ = ["RECIPES", "Candidate", "Picture", "Recipe", "Rendered"]

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        TextToImage(),
        SubjectPair(),
        CannyToImage(),
        ImageToCanny(),
        Deblur(),
        Denoise(),
        Inpaint(),
        Colorize(),
        ReferringSegmentation(),
        FewShot(),
    )
}
