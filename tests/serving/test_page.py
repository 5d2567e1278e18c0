"""The web page in a real browser: typed into, clicked, read; needs playwright and a Chromium."""

import json
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
from capitals import Capitals
from running import running
from tiny import tiny_labeler

from lookboth.types import PredictedSpan, Prediction, TextLabel

playwright = pytest.importorskip(
    "playwright.sync_api", reason="the web page is not tested: pip install playwright"
)
BROWSER = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(not BROWSER, reason="the web page is not tested: no Chromium here")
TEXT = "😀 Ann <b>saw</b> X\nin Rome & Oslo"


class Shy(Capitals):
    """Leaves out the first name."""

    def stream(self, texts, *, batch_tokens):
        for one in super().stream(texts, batch_tokens=batch_tokens):
            yield Prediction(one.text, one.words, one.offsets, one.tags, one.spans[1:])


class Mood:
    config = SimpleNamespace(labels=("good", "bad"), task="classification", plan=None)
    takes_plans = takes_labels = False
    batch_key = None

    def stream(self, texts, *, batch_tokens):
        for text in texts:
            yield Prediction(text, (), (), (), labels=(TextLabel("good", 0.7), TextLabel("bad", 0.3)))


class Many(Capitals):
    """Knows many labels, finds few, and nothing in a text without capitals."""

    config = SimpleNamespace(
        labels=("NAME", "LETTER", *(f"L{n}" for n in range(40))), task="labeling", plan=None
    )


class Words(Capitals):
    """Labels every word, whatever its script."""

    def stream(self, texts, *, batch_tokens):
        for one in super().stream(texts, batch_tokens=batch_tokens):
            places = enumerate(zip(one.words, one.offsets, strict=True))
            spans = (PredictedSpan(i, i + 1, "NAME", word, *place, 0.9) for i, (word, place) in places)
            yield Prediction(one.text, one.words, one.offsets, one.tags, tuple(spans))


class Nested(Capitals):
    """Finds spans that lie inside each other, and one that crosses the end of another."""

    def stream(self, texts, *, batch_tokens):
        spans = (
            PredictedSpan(0, 3, "ORG", "New York Times", 0, 14, 0.9),
            PredictedSpan(1, 2, "LOC", "York", 4, 8, 0.8),
            PredictedSpan(2, 5, "FIRM", "Times & Co", 9, 19, 0.7),
        )
        for one in super().stream(texts, batch_tokens=batch_tokens):
            yield Prediction(one.text, one.words, one.offsets, (), spans)


LONG_NAME = "a-model-whose-name-is-longer-than-the-screen-of-a-phone-is-wide-seed-0-best-of-five"


class Open(Capitals):
    """Gives the first label that is named to capitalized words."""

    takes_labels = True

    def with_labels(self, labels):
        named = Open()
        named.config = SimpleNamespace(
            **{**vars(self.config), "labels": tuple(n.split(":")[0] for n in labels)}
        )
        return named

    def stream(self, texts, *, batch_tokens):
        for found in super().stream(texts, batch_tokens=batch_tokens):
            spans = tuple(span._replace(label=self.config.labels[0]) for span in found.spans)
            yield replace(found, spans=spans)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def url():
    labelers = {
        "capitals": Capitals(),
        "shy": Shy(),
        "mood": Mood(),
        "many": Many(),
        "open": Open(),
        "nested": Nested(),
        LONG_NAME: Words(),
    }
    with running(labelers, text_chars=200) as (_, port):
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture
def page(browser, url):
    """The page, loaded; what it reports as wrong or fetches from elsewhere fails the test."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(url) else wrong.append(request.url))
    page.goto(url)
    yield page
    context.close()
    assert [text for text in wrong if "422" not in text and "413" not in text] == []


def marks(page, pane: int = 0) -> list[str]:
    """Return what a person hears of each span in a pane."""
    texts = page.locator(".pane").nth(pane).locator("mark").all()
    return [
        mark.evaluate("m => m.childNodes[0].data + m.querySelector('.unseen').textContent") for mark in texts
    ]


def label(page, text: str) -> None:
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Label", exact=True).click()
    page.locator(".pane").first.wait_for()


def test_overlapping_spans_are_marked_inside_each_other(page):
    page.get_by_label("Model", exact=True).select_option("nested")
    label(page, "New York Times & Co")
    labels = "all => all.map((mark) => mark.querySelector(':scope > .tag').textContent)"
    assert page.locator("p.text > mark").evaluate_all(labels) == ["ORG", "FIRM"]
    assert page.locator("p.text > mark mark").evaluate_all(labels) == ["LOC", "FIRM"]
    plain = (
        "p => { const c = p.cloneNode(true); c.querySelectorAll('mark > span').forEach((s) => s.remove()); "
    )
    plain += "return c.textContent; }"
    assert page.locator("p.text").evaluate(plain) == "New York Times & Co"


def test_a_text_typed_is_labeled_and_shown_as_it_is(page):
    page.get_by_label("Text", exact=True).type(TEXT)
    page.keyboard.press("Control+Enter")
    page.locator("mark").first.wait_for()
    assert marks(page) == [
        "Ann, NAME, score 0.900",
        "X, LETTER, score 0.400",
        "Rome, NAME, score 0.900",
        "Oslo, NAME, score 0.900",
    ]
    seen = page.locator(".text").evaluate(
        "p => [...p.childNodes].map(node => (node.tagName ? node.childNodes[0] : node).data).join('')"
    )
    assert seen == TEXT
    assert page.get_by_role("status").text_content() == "capitals: 4 of 4 spans shown"


def test_the_threshold_and_the_labels_hide_spans(page):
    label(page, TEXT)
    slider = page.get_by_label("Minimum score")
    slider.focus()
    slider.fill("0.5")
    assert len(marks(page)) == 3
    assert page.get_by_role("status").text_content() == "capitals: 3 of 4 spans shown"
    slider.press("Home")
    assert len(marks(page)) == 4
    page.get_by_role("button", name="NAME 3").click()
    assert marks(page) == ["X, LETTER, score 0.400"]
    page.keyboard.press("Space")  # the button has kept the focus
    assert len(marks(page)) == 4


def test_scores_show_on_hover_and_by_keyboard(page):
    label(page, TEXT)
    tips = page.locator(".tip")
    assert not tips.first.is_visible()
    page.locator("mark").first.hover()
    assert tips.first.is_visible()
    assert tips.first.text_content() == "NAME 0.900, characters 2 to 5"
    page.mouse.move(0, 0)
    page.locator("mark").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.childNodes[0].data") == "X"
    assert tips.nth(1).is_visible()
    page.keyboard.press("Escape")
    assert not tips.nth(1).is_visible()
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.childNodes[0].data") == "Oslo"


def test_all_can_be_reached_by_keyboard_alone(page):
    page.get_by_label("Text", exact=True).focus()
    page.keyboard.type("Ann")
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        if reached[-1] == "label":
            page.keyboard.press("Enter")
            page.locator("mark").wait_for()
    assert reached[:6] == [
        "model-0",
        "compare",
        "live",
        "example",
        "label",
        "threshold",
    ]  # no plan to choose here
    assert {"MARK", "BUTTON", "SUMMARY"} <= set(reached)


def test_two_models_side_by_side(page):
    label(page, TEXT)
    page.get_by_label("Compare two").check()
    page.locator(".pane").nth(1).wait_for()
    assert marks(page, 0)[0] == "Ann, NAME, score 0.900, only on this side"
    assert marks(page, 1)[0] == "X, LETTER, score 0.400"
    assert page.get_by_role("status").text_content() == (
        "capitals: 4 of 4 spans shown; shy: 3 of 3 spans shown; on one side only: 1 / 0"
    )
    page.get_by_label("Second model").select_option("capitals")
    playwright.expect(page.locator(".only")).to_have_count(0)


def test_copied_json_holds_what_is_shown(page):
    label(page, TEXT)
    page.get_by_label("Minimum score").fill("0.5")
    page.get_by_role("button", name="Copy as JSON").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert [TEXT[span["start"] : span["end"]] for span in copied["spans"]] == ["Ann", "Rome", "Oslo"]
    assert (copied["text"], copied["model"], copied["min_score"]) == (TEXT, "capitals", 0.5)


def test_labels_of_whole_texts_are_listed(page):
    page.get_by_label("Model", exact=True).select_option("mood")
    label(page, "fine")
    page.locator(".labels").wait_for()
    assert page.locator(".labels li").all_inner_texts() == ["good\n0.700", "bad\n0.300"]


def test_before_the_first_text_the_page_says_what_to_do(page):
    playwright.expect(page.locator("#empty")).to_contain_text("Type or paste a text")
    page.get_by_role("button", name="Label", exact=True).click()
    playwright.expect(page.get_by_role("alert")).to_contain_text("There is no text yet")
    label(page, TEXT)
    playwright.expect(page.locator("#empty")).to_be_hidden()
    playwright.expect(page.get_by_role("alert")).to_be_empty()


def test_where_nothing_is_shown_the_page_says_why(page):
    label(page, "no capitals")
    playwright.expect(page.locator(".nothing")).to_contain_text("found nothing")
    label(page, "Ann")
    playwright.expect(page.locator("mark")).to_have_count(1)
    page.get_by_label("Minimum score").fill("1")
    playwright.expect(page.locator(".nothing")).to_contain_text("below the minimum")


def test_of_many_labels_only_those_found_are_listed_at_first(page):
    page.get_by_label("Model", exact=True).select_option("many")
    label(page, TEXT)
    chips = page.locator(".chip")
    assert chips.all_inner_texts() == ["NAME 3", "LETTER 1"]
    page.get_by_role("button", name="Show 40 more labels").click()
    playwright.expect(chips).to_have_count(42)
    page.get_by_role("button", name="Show fewer labels").click()
    page.get_by_role("button", name="LETTER 1").click()
    assert chips.all_inner_texts() == ["LETTER 1", "NAME 3"]  # one that is switched off stays in sight


@pytest.mark.parametrize(
    "text", ["שלום 1815 עולם Rome טוב", "مرحبا 1815 لندن Rome مدينة", "Ann שלום 1815 Bea"]
)
def test_a_label_stands_beside_its_word_in_any_script(page, text):
    page.get_by_label("Model", exact=True).select_option(LONG_NAME)
    label(page, text)
    boxes = page.evaluate(_WORDS_AND_TAGS)
    assert len(boxes) == len(text.split())
    for word, tag in boxes:
        gap = max(word["left"] - tag["right"], tag["left"] - word["right"])
        assert 2 <= gap <= 12, (word, tag)
        assert not any(_between(word, tag, other) for other, _ in boxes if other != word)


def _between(word, tag, other):
    left, right = sorted((word["left"], tag["left"]))
    return left < other["left"] < right


_WORDS_AND_TAGS = """() => [...document.querySelectorAll("mark")].map((mark) => {
  const range = document.createRange();
  range.selectNodeContents(mark.childNodes[0]);
  return [range, mark.querySelector(".tag")].map((place) => {
    const { left, right } = place.getBoundingClientRect();
    return { left, right };
  });
})"""


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_screen(browser, url, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(url)
    page.get_by_label("Model", exact=True).select_option(LONG_NAME)
    label(page, TEXT)
    page.get_by_text("As a table").click()
    page.get_by_label("Compare two").check()
    page.locator(".pane").nth(1).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        """width => [...document.querySelectorAll("body *:not(.unseen):not(.tip)")]
      .filter((one) => one.getBoundingClientRect().right > width + 1 && !one.closest(".scroll"))
      .map((one) => one.outerHTML.slice(0, 80))""",
        width,
    )
    page.close()
    assert outside == []


def test_what_the_server_refuses_is_shown(page):
    page.get_by_label("Text", exact=True).fill("x" * 201)
    page.get_by_role("button", name="Label", exact=True).click()
    alert = page.get_by_role("alert")
    playwright.expect(alert).to_contain_text("text 0 has 201 characters")
    playwright.expect(alert).to_contain_text("at most 200 characters")


def test_the_api_page_shows_the_operations(page, url):
    page.goto(url + "docs")
    page.get_by_text("/v1/label").first.wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_contrast(browser, url, scheme):
    page = browser.new_page(color_scheme=scheme)
    page.goto(url)
    label(page, TEXT)
    ratios = page.evaluate(_CONTRASTS)
    page.close()
    assert len(ratios) > 20
    assert {name: ratio for name, ratio in ratios.items() if ratio < 4.5} == {}


# Every element with text of its own, with the contrast of that text to what is painted behind it (WCAG 2.2, 1.4.3);
# every colour of a label is tried on every span.
_CONTRASTS = """() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => [r, g, b]
    .map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const color = rgba(getComputedStyle(element).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255];
  };
  const measure = (element) => {
    const [a, b] = [rgba(getComputedStyle(element).color), behind(element)].map(luminance);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const ratios = {};
  document.querySelectorAll(".tip").forEach((tip) => (tip.style.display = "block"));
  for (const element of document.querySelectorAll("body, body *:not(script):not(option):not([type=range])")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own && !element.value) continue;
    const name = `${element.tagName} ${element.className} ${element.id}`;
    ratios[name] = measure(element);
    if (!element.matches(".span, .chip")) continue;
    for (let hue = 0; hue < 8; hue++) {
      element.className = element.className.replace(/hue-\\d/, `hue-${hue}`);
      ratios[`${name} hue ${hue}`] = measure(element);
    }
  }
  return ratios;
}"""


def test_labels_of_an_open_labeler_are_typed(page):
    field = page.get_by_label("Labels to find")
    assert not field.is_visible()
    page.get_by_label("Model", exact=True).select_option("open")
    field.fill("company: a firm, or a shop; place")
    label(page, "Ann saw Rome")
    assert [mark.split(",")[0] for mark in marks(page)] == ["Ann", "Rome"]
    assert all(", company, score" in mark for mark in marks(page))
    assert page.locator("#legend").inner_text().split()[0] == "company"
    field.fill("company, place")
    field.press("Enter")
    playwright.expect(page.get_by_role("alert")).to_contain_text("Separate labels by semicolons")
    field.fill("")
    field.press("Enter")
    page.locator("mark", has_text="NAME").first.wait_for()
    page.get_by_label("Model", exact=True).select_option("capitals")
    assert not field.is_visible()


def test_a_text_is_labeled_while_it_is_typed(browser, tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder, plan="causal")
    # Labelers must not run in two threads at once, so the expected spans come from a labeler of their own.
    own = tiny_labeler(tiny_llama_folder, plan="causal")
    with running({"one": labeler, "full": labeler.with_plan("full")}, stop_seconds=1) as (_, port):
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_label("Label as I type").check()
        text = "Ada Lovelace was born in London and worked with Charles Babbage "
        for typed in (text, text + "the fox ", "the word is read " + text):
            page.get_by_label("Text", exact=True).fill("")
            page.get_by_label("Text", exact=True).press_sequentially(typed)
            spans = own.open_stream(lag=0).push_text(typed).spans
            expected = [f"{span.text}, {span.label}" for span in spans]
            assert expected
            last = page.locator(".pane mark").nth(len(expected) - 1)
            last.wait_for()
            assert [mark.rpartition(", score")[0] for mark in marks(page)] == expected
        page.get_by_label("Model", exact=True).select_option("full")
        page.get_by_label("Text", exact=True).press_sequentially("x")
        page.get_by_text("has no limit in layers").wait_for()
        page.close()
