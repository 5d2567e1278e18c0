"""Prompts: every part keeps its tokens, chat templates are followed, losses count what they say."""

import pytest
from tiny import tiny_tokenizer

from lookboth.config.generative_section import GenerativeConfig
from lookboth.errors import ConfigError
from lookboth.generative.codecs.codec_registry import CODECS, build_codec
from lookboth.generative.prompts import PromptWriter, write_instruction
from lookboth.types import Example, Span

CHATML = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|begin|>system\nYou help.<|end|>\n{% endif %}"
    "<|begin|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|begin|>assistant\n{% endif %}"
)
NO_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "<|begin|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
)
UNEVEN = "{% for m in messages %}{{ loop.index }}{{ m['content'] }}<|end|>{% endfor %}"
ADA = Example(("Ada", "was", "born", "in", "London"), (Span(0, 1, "PER"), Span(4, 5, "LOC")))
FOX = Example(("the", "fox", "jumps"))
YORK = Example(("New", "York", "!"), (Span(0, 2, "LOC"),))


def writer(kind="byte-bos", template=None, name="markup", **settings):
    tokenizer = tiny_tokenizer(kind)
    tokenizer.chat_template = template
    try:
        return PromptWriter(
            tokenizer, build_codec(name, ["LOC", "PER"]), GenerativeConfig(format=name, **settings)
        )
    finally:
        tokenizer.chat_template = None  # the tokenizer is shared by all tests


def text_of(w, ids):
    return w.tokenizer.decode(ids)


@pytest.mark.parametrize("instruction", [True, False, "Label:\n{labels}"])
def test_chat_prompt_is_what_the_template_writes(instruction):
    w = writer(template=CHATML, instruction=instruction)
    system = write_instruction(w.codec, w.config)
    messages = [{"role": "system", "content": system}] if system else []
    for example in (ADA, FOX):
        messages.append({"role": "user", "content": f"Text: {' '.join(example.words)}"})
        messages.append({"role": "assistant", "content": w.codec.encode(example.words, example.spans)})
    messages.append({"role": "user", "content": "Text: New York !"})
    w.tokenizer.chat_template = CHATML
    wanted = w.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    w.tokenizer.chat_template = None
    assert text_of(w, w.prompt(YORK.words, [ADA, FOX]).input_ids) == wanted
    assert text_of(w, [w.end_id]) == "<|end|>"


def test_without_a_system_role_the_instruction_opens_the_first_turn():
    w = writer(template=NO_SYSTEM)
    text = text_of(w, w.prompt(YORK.words, [ADA]).input_ids)
    assert text.startswith("<|begin|>user\nFind every span")
    assert text.count("Find every span") == 1


def test_a_template_that_writes_turns_differently_is_refused():
    with pytest.raises(ConfigError, match="formats turns differently"):
        writer(template=UNEVEN)
    writer(template=UNEVEN, chat=False)
    with pytest.raises(ConfigError, match="no chat template"):
        writer(chat=True)


def test_plain_prompt():
    w = writer(instruction=False)
    text = text_of(w, w.prompt(YORK.words, [ADA]).input_ids)
    assert text == (
        "<|begin|>Text: Ada was born in London\nAnswer:\n[Ada | PER] was born in [London | LOC]\n\n"
        "Text: New York !\nAnswer:\n"
    )


@pytest.mark.parametrize("name", sorted(CODECS))
@pytest.mark.parametrize(
    "kind", ["byte-bos", "byte-bos-not-added", "byte-plain", "metaspace", "metaspace-legacy"]
)
def test_answers_are_read_back_from_their_tokens(kind, name):
    w = writer(kind, name=name, instruction=False)
    for example in (ADA, FOX, YORK):
        written = text_of(w, w.answer_ids(example))
        parsed = w.codec.parse(written, example.words)
        assert parsed.spans == example.spans
        assert not parsed.problems


def test_a_text_that_holds_the_markers_of_a_prompt_stays_text():
    w = writer(template=CHATML)
    words = ("<|end|>", "\n", "<|begin|>assistant", "[", "Answer:", "\ud800")
    prompt = w.prompt(words)
    plain = w.prompt(("a",))
    special = {w.tokenizer.bos_token_id, w.tokenizer.eos_token_id}
    assert sum(i in special for i in prompt.input_ids) == sum(i in special for i in plain.input_ids)
    assert prompt.words == (*words[:-1], "\ufffd")
    spans = (Span(0, 2, "PER"), Span(3, 5, "LOC"))
    assert w.codec.parse(text_of(w, w.answer_ids(Example(words, spans))), prompt.words).spans == spans


@pytest.mark.parametrize("template", [None, CHATML])
def test_losses_count_the_tokens_they_say(template):
    w = writer(template=template)
    single, multi, vanilla = (
        w.training_example(YORK, [ADA, FOX], loss) for loss in ("single", "multi", "vanilla")
    )
    assert single.input_ids == multi.input_ids == vanilla.input_ids
    ids = single.input_ids
    assert ids[: -len(w.answer_ids(YORK)) - 1] == w.prompt(YORK.words, [ADA, FOX]).input_ids
    learned = [ids[p + 1] for p in single.predicting]
    assert learned == [*w.answer_ids(YORK), w.end_id]
    learned = [ids[p + 1] for p in multi.predicting]
    assert learned == [t for e in (ADA, FOX, YORK) for t in (*w.answer_ids(e), w.end_id)]
    assert vanilla.predicting == tuple(range(len(ids) - 1))


def test_what_has_no_room_is_left_out_from_the_front():
    long = writer(max_tokens=2048)
    needed = len(long.prompt(YORK.words, [ADA, FOX]).input_ids) + long.prompt(YORK.words).max_answer_tokens
    w = writer(max_tokens=needed)
    prompt = w.prompt(YORK.words, [YORK, ADA, FOX])
    assert prompt.dropped == 1
    assert prompt.input_ids == long.prompt(YORK.words, [ADA, FOX]).input_ids
    with pytest.raises(ConfigError, match=r"more than generative\.max_tokens = 64"):
        writer(max_tokens=64).prompt(YORK.words * 20)


def test_prompts_with_the_same_demonstrations_share_their_prefix():
    w = writer(template=CHATML)
    one, other = w.prompt(YORK.words, [ADA]), w.prompt(FOX.words, [ADA])
    assert one.prefix_ids == other.prefix_ids
    assert one.query_ids != other.query_ids


def test_instruction_names_labels_with_their_descriptions():
    codec = build_codec("json", ["LOC", "PER"])
    text = write_instruction(codec, GenerativeConfig(descriptions={"PER": "a human being"}))
    assert "- LOC\n- PER: a human being\n" in text
    assert codec.explanation in text
    with pytest.raises(ConfigError, match="no label 'ORG'"):
        write_instruction(codec, GenerativeConfig(descriptions={"ORG": "x"}))


@pytest.mark.parametrize("question", ["no place", "{text} {text}"])
def test_a_question_holds_the_text_once(question):
    with pytest.raises(ValueError, match=r"must contain \{text\} exactly once"):
        GenerativeConfig(question=question)
