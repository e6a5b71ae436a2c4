"""Noun phrases by spaCy, with a small parser trained on a few captions."""

from __future__ import annotations

import pytest

from x2i.errors import UserError
from x2i.models.registry import Ability, backend, load

spacy = pytest.importorskip("spacy")

# word, part of speech, offset of its head, relation
CAPTIONS = (
    "the/DET/1/det cat/NOUN/1/nsubj holds/VERB/0/ROOT a/DET/2/det red/ADJ/1/amod ball/NOUN/-3/dobj",
    "two/NUM/1/nummod dogs/NOUN/1/nsubj see/VERB/0/ROOT the/DET/2/det white/ADJ/1/amod cat/NOUN/-3/dobj",
    "a/DET/1/det dog/NOUN/0/ROOT on/ADP/-1/prep the/DET/2/det red/ADJ/1/amod table/NOUN/-3/pobj",
    "she/PRON/1/nsubj holds/VERB/0/ROOT a/DET/1/det dog/NOUN/-2/dobj",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from spacy.tokens import Doc
    from spacy.training import Example
    from spacy.util import fix_random_seed

    fix_random_seed(0)
    pipeline = spacy.blank("en")
    pipeline.add_pipe("morphologizer")
    pipeline.add_pipe("parser", config={"min_action_freq": 1})
    examples = []
    for caption in CAPTIONS:
        words, tags, heads, relations = zip(*(token.split("/") for token in caption.split()))
        known = Doc(
            pipeline.vocab, words=words, pos=tags, deps=relations,
            heads=[place + int(offset) for place, offset in enumerate(heads)],
        )  # fmt: skip
        examples.append(Example(Doc(pipeline.vocab, words=words), known))
    pipeline.initialize(lambda: examples)
    for _ in range(60):
        pipeline.update(examples)
    target = tmp_path_factory.mktemp("spacy") / "model"
    pipeline.to_disk(target)
    return target


def test_phrases_are_the_noun_chunks_without_articles_numbers_and_pronouns(folder):
    captions = ["The cat holds a red ball", "two dogs see the white cat", "she holds a dog", ""]
    found = load(Ability.PHRASE_EXTRACTOR, f"spacy:{folder}").phrases(captions)
    assert found == [["cat", "red ball"], ["dogs", "white cat"], ["dog"], []]
    chunks = [chunk.text for chunk in spacy.load(folder)(captions[0]).noun_chunks]
    assert chunks == ["The cat", "a red ball"]


def test_the_revision_follows_the_files(folder):
    revision = backend(Ability.PHRASE_EXTRACTOR, f"spacy:{folder}").resolve()
    assert revision == backend(Ability.PHRASE_EXTRACTOR, f"spacy:{folder}").resolve()
    (folder / "meta.json").write_text((folder / "meta.json").read_text() + "\n")
    assert revision != backend(Ability.PHRASE_EXTRACTOR, f"spacy:{folder}").resolve()


def test_a_model_that_is_nowhere_is_told_in_words():
    with pytest.raises(UserError, match="spaCy model 'en_nowhere': neither an installed package nor a folder here"):
        backend(Ability.PHRASE_EXTRACTOR, "spacy:en_nowhere").resolve()
