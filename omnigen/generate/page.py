"""The page of `omnigen ui`: prompt, input images placed by click, adapters, a gallery, and how images were drawn."""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from omnigen.generate.drawing import Drawing, write_image
from omnigen.generate.loading import Loading
from omnigen.generate.metadata import digest, read_record
from omnigen.generate.options import GenerationOptions
from omnigen.generate.pipeline import Preview
from omnigen.generate.requests import Request
from x2i.errors import UserError
from x2i.options import check, option_fields
from x2i.sample import placeholder

if TYPE_CHECKING:
    import gradio as gr

IMAGES = 3
PREVIEWS = 8
"""Guesses that are shown while an image is drawn."""
NO_ADAPTER = "none"
OPTIONS = option_fields(GenerationOptions)
INSERT = """(text) => {{
    const area = document.querySelector('#prompt textarea');
    const at = area.selectionStart ?? text.length;
    return text.slice(0, at) + '{mark}' + text.slice(at);
}}"""
"""Puts an image's mark where the cursor is."""


@dataclass
class Studio:
    """What the page draws with. loras: folders of adapters to choose from. out: where images go."""

    model: Path
    loras: Sequence[Path]
    out: Path
    any_base: bool = False
    loading: Loading = field(default_factory=Loading)
    _open: dict[tuple[str, float], Drawing] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def drawing(self, lora: str, scale: float) -> Drawing:
        """Returns the model with an adapter's folder, or "" for none; the one before is let go of. Raises UserError."""
        if (lora, scale) not in self._open:
            self._open.clear()
            scaled = [(lora, scale)] if lora else []
            self._open[lora, scale] = Drawing.open(self.model, scaled, self.any_base, self.loading)
        return self._open[lora, scale]

    def draw(
        self, prompt: str, images: Sequence[str | None], lora: str, scale: float, number: int, values: Sequence[Any]
    ) -> Iterator[list[Any]]:
        """Yields the images so far, as pixels while they are drawn and at last as the files in `out`.

        values: of OPTIONS; None or "" leaves the default. Raises UserError for what cannot be drawn.
        """
        given = {each.name: _parsed(each, value) for each, value in zip(OPTIONS, values) if value not in (None, "")}
        options = GenerationOptions(**given)
        check(options)
        request = Request(prompt, tuple(self._kept(Path(image)) for image in images if image), options)
        seeds = [options.seed + k for k in range(number)]
        with self._lock:
            yield from self._draw(request, seeds, self.drawing(lora, scale))

    def _draw(self, request: Request, seeds: list[int], drawing: Drawing) -> Iterator[list[Any]]:
        news: queue.SimpleQueue[Any] = queue.SimpleQueue()
        every = max(1, request.options.steps // PREVIEWS)

        def work() -> None:
            try:
                show = Preview(every, lambda step, pixels: news.put(pixels))
                news.put([self._write(*drawn) for drawn in drawing.draw(request, seeds, preview=show)])
            except Exception as error:  # noqa: BLE001 - raised again where the page can show it
                news.put(error)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        while True:
            found = news.get()
            if isinstance(found, Exception):
                raise found
            yield found
            if isinstance(found[0], str):
                return

    def _write(self, pixels: Any, record: Any) -> str:
        self.out.mkdir(parents=True, exist_ok=True)
        numbers = [int(path.stem) for path in self.out.glob("*.png") if path.stem.isdecimal()]
        path = self.out / f"{max(numbers, default=0) + 1:05d}.png"
        write_image(path, pixels, record)
        return str(path)

    def _kept(self, image: Path) -> Path:
        """Returns a copy of an input image that stays, so that `omnigen generate --from` finds it."""
        copy = self.out / "inputs" / f"{digest(image)[:16]}{image.suffix}"
        if not copy.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(image, copy)
        return copy


def build_page(studio: Studio) -> gr.Blocks:
    """Returns the page, ready to be served."""
    import gradio as gr

    with gr.Blocks(title="OmniGen") as page:
        with gr.Row():
            with gr.Column(scale=2):
                prompt = gr.Textbox(label="Prompt", lines=3, elem_id="prompt")
                images = _images(prompt)
                with gr.Row():
                    choices = [(NO_ADAPTER, ""), *((path.name, str(path)) for path in studio.loras)]
                    lora = gr.Dropdown(choices, value="", label="Adapter (LoRA)", elem_id="lora")
                    scale = gr.Slider(-2, 2, value=1, step=0.05, label="How much of it")
                    number = gr.Slider(1, 8, value=1, step=1, label="Images", elem_id="number")
                with gr.Accordion("Options", open=False):
                    values = [_component(each) for each in OPTIONS]
                button = gr.Button("Generate", variant="primary", elem_id="generate")
            with gr.Column(scale=3):
                gallery = gr.Gallery(label="Images", format="png", columns=2, elem_id="gallery", interactive=False)
                shown = gr.JSON(label="How the chosen image was drawn", elem_id="record")
                again = gr.File(label="Read how a .png was drawn", file_types=[".png"], elem_id="again", height=100)
        count = len(images)

        def generate(text: str, *given: Any) -> Iterator[Any]:
            pictures, (folder, much, many), rest = given[:count], given[count : count + 3], given[count + 3 :]
            try:
                for found in studio.draw(text, pictures, folder, much, int(many), rest):
                    yield found, _record(found[0]) if isinstance(found[0], str) else None
            except UserError as error:
                raise gr.Error(str(error)) from error

        def choose(found: list[tuple[str, str | None]], event: gr.SelectData) -> Any:
            return _record(found[event.index][0])

        def read(path: str | None) -> tuple[Any, Any]:
            record = _record(path) if path else None
            return record, record["prompt"] if record else gr.skip()

        choose.__annotations__["event"] = gr.SelectData  # by which gradio knows what to give
        button.click(generate, [prompt, *images, lora, scale, number, *values], [gallery, shown])
        gallery.select(choose, gallery, shown)
        again.upload(read, again, [shown, prompt])
    return page


def _images(prompt: gr.Textbox) -> list[gr.Image]:
    """Returns the inputs for images, each with a button that marks its place in the prompt."""
    import gradio as gr

    images = []
    with gr.Row():
        for number in range(1, IMAGES + 1):
            with gr.Column(min_width=100):
                label = f"Image {number}"
                images.append(gr.Image(label=label, type="filepath", height=160, elem_id=f"image_{number}"))
                place = gr.Button(f"Place image {number}", size="sm", elem_id=f"place_{number}")
                place.click(None, prompt, prompt, js=INSERT.format(mark=placeholder(number)))
    return images


def _component(each: Any) -> gr.Number | gr.Textbox:
    """Returns what an option is typed into; empty where its default is None."""
    import gradio as gr

    name, about = each.name.replace("_", " "), each.option.help
    if each.default is None or each.kind is str:  # a number's field cannot be empty
        return gr.Textbox(label=name, info=about, value=each.default, elem_id=each.name)
    precision = 0 if each.kind is int else None
    return gr.Number(label=name, info=about, value=each.default, precision=precision, elem_id=each.name)


def _parsed(each: Any, value: Any) -> Any:
    """Returns an option's value of what was typed. Raises UserError if it is not a number that should be one."""
    kind = next(kind for kind in (get_args(each.kind) or (each.kind,)) if kind is not type(None))
    try:
        return kind(value)
    except ValueError as error:
        raise UserError(f"{each.name}: expected a number, found {value!r}") from error


def _record(path: str) -> dict[str, Any]:
    import gradio as gr

    try:
        return asdict(read_record(Path(path)))
    except UserError as error:
        raise gr.Error(str(error)) from error
