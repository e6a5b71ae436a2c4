"""Recipes: how images, columns and relations become the samples of a task. A recipe is one class and one row here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from x2i.registry import Registry

if TYPE_CHECKING:
    from x2i.recipes.base import Recipe

_HERE = "x2i.recipes."

RECIPES: Registry[Recipe] = Registry(
    "recipe",
    {
        "text_to_image": "x2i.recipes.text_to_image:TextToImage",
        "subject_pair": "x2i.recipes.subjects.pair:SubjectPair",
        "object_pair": "x2i.recipes.subjects.pair:ObjectPair",
        "people_to_group": "x2i.recipes.subjects.pair:PeopleToGroup",
        "entity_to_image": "x2i.recipes.subjects.entities:EntityToImage",
        "two_entities_to_image": "x2i.recipes.subjects.entities:TwoEntitiesToImage",
        "three_entities_to_image": "x2i.recipes.subjects.entities:ThreeEntitiesToImage",
        "entity_and_edges_to_image": "x2i.recipes.composition:EntityAndEdgesToImage",
        "remove_two_damages": "x2i.recipes.composition:RemoveTwoDamages",
        "restore_and_edit": "x2i.recipes.composition:RestoreAndEdit",
        "frame_subject_to_image": "x2i.recipes.subjects.pair:FrameSubjectToImage",
        "two_frame_subjects_to_image": "x2i.recipes.subjects.pair:TwoFrameSubjectsToImage",
        "frame_edit": "x2i.recipes.frames:FrameEdit",
        "next_frame": "x2i.recipes.frames:NextFrame",
        "third_frame": "x2i.recipes.frames:ThirdFrame",
        "try_on": "x2i.recipes.groups:TryOn",
        "style_transfer": "x2i.recipes.groups:StyleTransfer",
        "motion": "x2i.recipes.groups:Motion",
        "canny_to_image": "x2i.recipes.conditions:CannyToImage",
        "image_to_canny": "x2i.recipes.conditions:ImageToCanny",
        "depth_to_image": "x2i.recipes.conditions:DepthToImage",
        "image_to_depth": "x2i.recipes.conditions:ImageToDepth",
        "xdog_to_image": "x2i.recipes.sketches:XdogToImage",
        "image_to_xdog": "x2i.recipes.sketches:ImageToXdog",
        "scribble_to_image": "x2i.recipes.sketches:ScribbleToImage",
        "image_to_scribble": "x2i.recipes.sketches:ImageToScribble",
        "soft_edges_to_image": "x2i.recipes.sketches:SoftEdgesToImage",
        "image_to_soft_edges": "x2i.recipes.sketches:ImageToSoftEdges",
        "line_segments_to_image": "x2i.recipes.sketches:LineSegmentsToImage",
        "image_to_line_segments": "x2i.recipes.sketches:ImageToLineSegments",
        "palette_to_image": "x2i.recipes.layouts:PaletteToImage",
        "image_to_palette": "x2i.recipes.layouts:ImageToPalette",
        "color_layout_to_image": "x2i.recipes.layouts:ColorLayoutToImage",
        "image_to_color_layout": "x2i.recipes.layouts:ImageToColorLayout",
        "low_resolution_to_image": "x2i.recipes.layouts:LowResolutionToImage",
        "blur_to_image": "x2i.recipes.layouts:BlurToImage",
        "image_to_low_resolution": "x2i.recipes.layouts:ImageToLowResolution",
        "image_to_blur": "x2i.recipes.layouts:ImageToBlur",
        "normals_to_image": "x2i.recipes.annotations.maps:NormalsToImage",
        "image_to_normals": "x2i.recipes.annotations.maps:ImageToNormals",
        "pose_to_image": "x2i.recipes.annotations.maps:PoseToImage",
        "image_to_pose": "x2i.recipes.annotations.maps:ImageToPose",
        "segmentation_to_image": "x2i.recipes.annotations.maps:ClassesToImage",
        "image_to_segmentation": "x2i.recipes.annotations.maps:ImageToClasses",
        "edges_to_image": "x2i.recipes.annotations.maps:EdgesToImage",
        "image_to_edges": "x2i.recipes.annotations.maps:ImageToEdges",
        "instances_to_image": "x2i.recipes.annotations.objects:InstancesToImage",
        "image_to_instances": "x2i.recipes.annotations.objects:ImageToInstances",
        "count_objects": "x2i.recipes.annotations.objects:CountObjects",
        "boxes_to_image": "x2i.recipes.boxes:BoxesToImage",
        "image_to_boxes": "x2i.recipes.boxes:ImageToBoxes",
        "image_to_boxes_on_photo": "x2i.recipes.boxes:ImageToBoxesOnPhoto",
        "deblur": "x2i.recipes.restoration.deblur:Deblur",
        "denoise": "x2i.recipes.restoration.denoise:Denoise",
        "super_resolution": "x2i.recipes.restoration.super_resolution:SuperResolution",
        "inpaint": "x2i.recipes.restoration.inpaint:Inpaint",
        "outpaint": "x2i.recipes.restoration.outpaint:Outpaint",
        "colorize": "x2i.recipes.restoration.colorize:Colorize",
        "remove_gaussian_blur": "x2i.recipes.restoration.blur:RemoveGaussianBlur",
        "remove_lens_blur": "x2i.recipes.restoration.blur:RemoveLensBlur",
        "remove_motion_blur": "x2i.recipes.restoration.blur:RemoveMotionBlur",
        "remove_camera_shake": "x2i.recipes.restoration.blur:RemoveCameraShake",
        "remove_glass_blur": "x2i.recipes.restoration.blur:RemoveGlassBlur",
        "remove_gaussian_noise": "x2i.recipes.restoration.noise:RemoveGaussianNoise",
        "remove_poisson_noise": "x2i.recipes.restoration.noise:RemovePoissonNoise",
        "remove_speckle_noise": "x2i.recipes.restoration.noise:RemoveSpeckleNoise",
        "remove_correlated_noise": "x2i.recipes.restoration.noise:RemoveCorrelatedNoise",
        "remove_impulse_noise": "x2i.recipes.restoration.noise:RemoveImpulseNoise",
        "remove_sensor_noise": "x2i.recipes.restoration.sensor_noise:RemoveSensorNoise",
        "remove_jpeg_artifacts": "x2i.recipes.restoration.compression:RemoveJpegArtifacts",
        "remove_jpeg2000_artifacts": "x2i.recipes.restoration.compression:RemoveJpeg2000Artifacts",
        "remove_webp_artifacts": "x2i.recipes.restoration.compression:RemoveWebpArtifacts",
        "super_resolution_real_esrgan": "x2i.recipes.restoration.real_world:SuperResolutionRealEsrgan",
        "super_resolution_bsrgan": "x2i.recipes.restoration.real_world:SuperResolutionBsrgan",
        "brighten_low_light": "x2i.recipes.restoration.light:BrightenLowLight",
        "restore_low_light": "x2i.recipes.restoration.light:RestoreLowLight",
        "fix_overexposure": "x2i.recipes.restoration.light:FixOverexposure",
        "fix_backlight": "x2i.recipes.restoration.light:FixBacklight",
        "fix_white_balance": "x2i.recipes.restoration.light:FixWhiteBalance",
        "fix_contrast": "x2i.recipes.restoration.light:FixContrast",
        "fix_saturation": "x2i.recipes.restoration.light:FixSaturation",
        "remove_haze": "x2i.recipes.restoration.weather:RemoveHaze",
        "remove_rain": "x2i.recipes.restoration.weather:RemoveRain",
        "remove_heavy_rain": "x2i.recipes.restoration.weather:RemoveHeavyRain",
        "remove_raindrops": "x2i.recipes.restoration.weather:RemoveRaindrops",
        "remove_snow": "x2i.recipes.restoration.weather:RemoveSnow",
        "remove_mixed_weather": "x2i.recipes.restoration.weather:RemoveMixedWeather",
        "inpaint_free_form": "x2i.recipes.restoration.inpaint:InpaintFreeForm",
        "inpaint_object": "x2i.recipes.restoration.inpaint:InpaintObject",
        "restore_old_photo": "x2i.recipes.restoration.old_photo:RestoreOldPhoto",
        "remove_watermark": "x2i.recipes.restoration.lettering:RemoveWatermark",
        "remove_text": "x2i.recipes.restoration.lettering:RemoveText",
        "remove_moire": "x2i.recipes.restoration.defects:RemoveMoire",
        "remove_pixelation": "x2i.recipes.restoration.defects:RemovePixelation",
        "remove_color_banding": "x2i.recipes.restoration.defects:RemoveColorBanding",
        "remove_oversharpening": "x2i.recipes.restoration.defects:RemoveOversharpening",
        "referring_segmentation": "x2i.recipes.segmentation:ReferringSegmentation",
        "extract_object": "x2i.recipes.segmentation:ExtractObject",
        "object_mask": "x2i.recipes.segmentation:ObjectMask",
        "remove_object": "x2i.recipes.edits.objects:RemoveObject",
        "remove_pasted_object": "x2i.recipes.edits.pasted:RemovePastedObject",
        "add_object": "x2i.recipes.edits.objects:AddObject",
        "recolor_object": "x2i.recipes.edits.appearance:RecolorObject",
        "change_material": "x2i.recipes.edits.appearance:ChangeMaterial",
        "move_object": "x2i.recipes.edits.geometry:MoveObject",
        "resize_object": "x2i.recipes.edits.geometry:ResizeObject",
        "mirror_object": "x2i.recipes.edits.geometry:MirrorObject",
        "plain_background": "x2i.recipes.edits.background:PlainBackground",
        "replace_background": "x2i.recipes.edits.background:ReplaceBackground",
        "relight": "x2i.recipes.edits.relight:Relight",
        "draw_scene": "x2i.recipes.scenes:DrawScene",
        "recolor_thing": "x2i.recipes.scenes:RecolorThing",
        "remove_thing": "x2i.recipes.scenes:RemoveThing",
        "add_thing": "x2i.recipes.scenes:AddThing",
        "move_thing": "x2i.recipes.scenes:MoveThing",
        "change_ground": "x2i.recipes.scenes:ChangeGround",
        "add_text": "x2i.recipes.edits.lettering:AddText",
        "erase_text": "x2i.recipes.edits.lettering:EraseText",
        "replace_text": "x2i.recipes.edits.lettering:ReplaceText",
        "translate_text": "x2i.recipes.edits.lettering:TranslateText",
        "recolor_text": "x2i.recipes.edits.lettering:RecolorText",
        "stylize": "x2i.recipes.edits.instruction:Stylize",
        "instruction_edit": "x2i.recipes.edits.instruction:InstructionEdit",
        "few_shot": "x2i.recipes.few_shot:FewShot",
        "two_shot": "x2i.recipes.few_shot:TwoShot",
        "three_shot": "x2i.recipes.few_shot:ThreeShot",
    },
)


def make_recipe(name: str, options: Mapping[str, Any] | None = None) -> Recipe:
    """Returns the recipe `name` (a registered name or `module:Class`) with `options` by name.

    Raises UserError if there is no such recipe or option, or if a value is of the wrong type or out of bounds.
    """
    from x2i.options import option_fields
    from x2i.settings import from_mapping

    kind = RECIPES.get(name)
    if not options and not any(field.required for field in option_fields(kind)):
        return kind()  # nothing to check, which for all recipes would take seconds
    return from_mapping(kind, options or {}, f"recipe {name}")


def family_of(name: str) -> str:
    """Returns the family of a registered recipe without importing it: the file or folder here that holds it.

    "" for a class from outside. Raises UserError if there is no such recipe.
    """
    module = RECIPES.path(name).partition(":")[0]
    return module.removeprefix(_HERE).partition(".")[0] if module.startswith(_HERE) else ""
