"""Builds the tokenizer of the bundled ``tiny`` model: words of the sample world, else bytes.

``python -m tools.pretrain_tiny.tiny_tokenizer`` writes it to ``bench/models/tiny``. It is a Unigram
model with a vocabulary that is counted, not trained: every word of the samples is one token, other
English falls into pieces, anything else into bytes. The build is deterministic to the byte.
"""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import bench.models
from bench.errors import ModelError
from tools.sample_world.acceptability import SUBJECTS
from tools.sample_world.corpus import sentences
from tools.sample_world.grammar import capital, third
from tools.sample_world.registry import SAMPLERS
from tools.sample_world.sampling import stream
from tools.sample_world.senses import SENSES
from tools.sample_world.world import ACTIONS, word_list

FOLDER = Path(bench.models.__file__).parent / "tiny"
SIZE = 4096
SENTINELS = 20
PAD, EOS, UNK = "<pad>", "</s>", "<unk>"
SPACE = "\u2581"
"""Stands for the space in front of a word, as in SentencePiece."""

ROWS_PER_TASK = 2000
CORPUS_SENTENCES = 4000
PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+|[^\w\s]|_")

TASK_WORDS = word_list(
    "cola sst2 mrpc qqp stsb mnli qnli rte superglue-boolq superglue-cb superglue-multirc "
    "superglue-wic superglue-wsc.fixed superglue-record squad nq hotpotqa searchqa newsqa "
    "winogrande yelp_polarity scitail paws e2e common_gen web_nlg sentence: sentence1: sentence2: "
    "question: question1: question2: premise: hypothesis: passage: answer: paragraph: word: text: "
    "query: entities: context: option0: option1: meaning: concepts: triples: record @placeholder"
)
"""Published task names and field marks of the source texts, each one token."""

COMMON_WORDS = word_list(
    "the of and to in a is that it was for on are as with they be at one have this from or had "
    "by but what some we can out other were all there when up use your how said an each she "
    "which do their time if will way about many then them would write like so these her long "
    "make thing see him two has look more day could go come did my no most number who over know "
    "than call first people may down side been now find any new work part take get place made "
    "live where after back little only round man year came show every good me give our under "
    "name very through just form much great think say help low line before turn cause same mean "
    "differ move right boy old too does tell set three want air well also play small end put "
    "home read hand large add even land here must big high such follow act why ask men change "
    "went light kind off need house try us again animal point mother world near build self "
    "earth father head stand own page should country found school grow study still learn plant "
    "cover food sun four between state keep eye never last let thought city tree cross since "
    "hard start might story saw far sea draw left late run while press close night real life "
    "few north because into his he i you not against during however being both those until "
    "another without within among although often around"
)
"""Frequent English words, for rows that do not come from the samples."""


def texts() -> Iterator[str]:
    """The text that is counted: training rows of every task, and plain text."""
    for task, sampler in SAMPLERS.items():
        for row in islice(stream(task, sampler, 0), ROWS_PER_TASK):
            yield from _strings(row)
    yield from islice(sentences(0), CORPUS_SENTENCES)


def _rare_forms() -> Iterator[str]:
    """Word forms that are too seldom to be counted for certain, as those of broken sentences."""
    yield from (third(action.verb) for action in ACTIONS)
    yield from (capital(noun) for noun in SUBJECTS)
    contexts = (context for senses in SENSES.values() for sense in senses for context in sense)
    yield from (word for c in contexts if (word := capital(c.split()[0])).isalpha())


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def vocabulary() -> list[tuple[str, float]]:
    """Pieces with their scores, index = token id; :data:`SIZE` of them with specials and sentinels.

    The order is: padding, end, unknown, then words by frequency, then what words are made of, then
    bytes, then the sentinels of span corruption. A soft prompt that starts from low token ids so
    starts from words.

    Raises:
        ModelError: the words alone do not fit into the vocabulary.
    """
    counts: Counter[str] = Counter()
    for text in texts():
        for word in text.split():
            for at, piece in enumerate(PIECE.findall(word)):
                counts[SPACE + piece if at == 0 else piece] += 1
    counts.update(SPACE + word for word in (*COMMON_WORDS, *_rare_forms()))
    words = {piece for piece in counts if piece[0] == SPACE and piece[1:].isalpha()}
    inner = {piece for piece in counts if piece[0] != SPACE and len(piece) > 1}
    numbers = [f"{SPACE}{number}" for number in range(100)]
    numbers += sorted(piece for piece in counts if piece[1:].isdigit() and len(piece) > 3)
    grades = [f"{SPACE}{tenths // 10}.{tenths % 10}" for tenths in range(51)]
    scores: dict[str, float] = {}
    by_frequency = sorted(words, key=lambda word: (-counts[word], word))
    for piece in [*by_frequency, *(SPACE + word for word in TASK_WORDS), *numbers, *grades]:
        scores.setdefault(piece, -8.0)
    for mark in string.punctuation + "\u00a3\u20ac\u2013\u2014\u2018\u2019\u201c\u201d":
        scores |= {mark: -9.0, SPACE + mark: -9.0}
    # Pieces inside a word cost so much that a word of the vocabulary is never split.
    for piece in sorted(inner):
        scores.setdefault(piece, -20.0)
    letters = string.ascii_letters + string.digits
    scores |= {SPACE: -24.0, **dict.fromkeys(letters, -24.0)}
    scores |= {SPACE + letter: -22.0 for letter in letters if SPACE + letter not in scores}
    byte_pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    room = SIZE - SENTINELS - 3 - len(byte_pieces) - len(scores)
    if room < 0:
        raise ModelError(f"tiny tokenizer: {-room} words too many for {SIZE} tokens; raise SIZE")
    for piece in _fragments(by_frequency, set(scores), room):
        scores[piece] = -20.0
    # A byte piece must never match the literal text "<0x41>".
    pieces = [(PAD, 0.0), (EOS, 0.0), (UNK, -1000.0), *scores.items()]
    pieces += [(piece, -1000.0) for piece in byte_pieces]
    pieces += [(f"<extra_id_{SENTINELS - 1 - i}>", 0.0) for i in range(SENTINELS)]
    return pieces


def _fragments(words: list[str], known: set[str], room: int) -> list[str]:
    """The ``room`` most frequent letter groups of the words that are no pieces yet."""
    groups: Counter[str] = Counter()
    for word in words:
        lower = word.lower()
        for size in (2, 3, 4, 5):
            for start in range(len(lower) - size + 1):
                groups[lower[start : start + size]] += size - 1
    ranked = sorted(groups, key=lambda group: (-groups[group], group))
    return [group for group in ranked if group not in known][:room]


def build() -> Any:
    """The tokenizer, a ``tokenizers.Tokenizer``."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing

    pieces = vocabulary()
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.post_processor = TemplateProcessing(
        single=f"$A {EOS}", pair=f"$A {EOS} $B {EOS}", special_tokens=[(EOS, 1)]
    )
    tokenizer.add_special_tokens([PAD, EOS, UNK, *_sentinels()])
    return tokenizer


def _sentinels() -> list[str]:
    return [f"<extra_id_{i}>" for i in range(SENTINELS)]


def save(folder: Path = FOLDER) -> None:
    """Write the files that ``AutoTokenizer.from_pretrained(folder)`` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    special = {
        "pad_token": PAD,
        "eos_token": EOS,
        "unk_token": UNK,
        "additional_special_tokens": _sentinels(),
    }
    config = special | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
    }
    files = {
        "tokenizer.json": json.dumps(json.loads(build().to_str()), ensure_ascii=False, indent=None),
        "tokenizer_config.json": json.dumps(config, indent=2),
        "special_tokens_map.json": json.dumps(special, indent=2),
    }
    for name, text in files.items():
        (folder / name).write_text(text + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    save()
