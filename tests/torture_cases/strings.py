"""Strings of strangers: they are text on the terminal and in HTML, whatever they say."""

from __future__ import annotations

import copy
import functools
import json
import random
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest import mock

import nplenet
from nplenet.checkpoint import LATEST, load, load_model, save_model
from nplenet.checkpoint.file import write_file
from nplenet.layers import Dense, Flatten, Sequential
from nplenet.page import write_page
from nplenet.report import write_report
from nplenet.report.html import Html
from nplenet.terminal import printable

from .bench import Bench, Case, Figure, fault
from .forgery import DIGIT, USES
from .mirrors import case as mirror_case

MARK = "owned"
ESCAPES = (
    "\x1b]0;owned\x07",
    "\x1b[2Jowned",
    "owned\x9b2J\x85\u2028\u202e",
    "owned\r\n\t\x00\x7f\x08",
    "owned\udce9\ud800\U000e0001",
)
MARKUP = (
    '<meta http-equiv="refresh" content="0;url=//evil/">owned',
    "</pre></code></td></table></title></style></script><script>owned</script>",
    "\"><form action='//evil/'><input autofocus onfocus=owned>",
    "'><base href='//evil/'><a href='//evil/'>owned",
    "<!--owned",
    "]]><![CDATA[owned<svg onload=owned>",
    "<img src=x onerror=owned> &lt;b&gt; &#60;b&#62; \x1b]0;\x07",
    "owned` ${owned} \\u003cb> {0} $title %s",
    "--><plaintext>owned",
)
PIECES = (
    *("<", ">", '"', "'", "&", "</script>", "<script>", "-->", "<!--", "</td>", "&#x3c;", "\\"),
    *(
        "=",
        "/",
        " ",
        "\n",
        "\x1b[",
        "\x07",
        "\u202e",
        "\udce9",
        "\x00",
        "$",
        "{",
        "onload",
        "style",
    ),
)
ALL_ESCAPES = ("".join(ESCAPES),)
ALL_MARKUP = (" ".join(MARKUP) + ALL_ESCAPES[0], "".join(reversed(MARKUP)))
CSP = {"default-src 'none'", "form-action 'none'", "base-uri 'none'"}


def hostile(rng: random.Random) -> str:
    return MARK + "".join(rng.choices(PIECES, k=rng.randrange(1, 12)))


# ------------------------------------------------------------------ the terminal

Record = dict[str, Any]


def at_argument(record: Record, text: str) -> None:
    record["arguments"][text] = 1


def at_value(record: Record, text: str) -> None:
    record["arguments"]["own"] = text


def at_version(record: Record, text: str) -> None:
    record["nplenet"] = text


def at_format(record: Record, text: str) -> None:
    record["format"] = text


def at_environment(record: Record, text: str) -> None:
    record["environment"] = {text: text}


def at_optimizer(record: Record, text: str) -> None:
    record["optimizer"]["type"] = text


def at_layer(record: Record, text: str) -> None:
    layers = record["model"]["layers"]["features"]["layers"]
    record["model"]["layers"]["features"]["layers"] = {text: layers["0"]}


def at_type(record: Record, text: str) -> None:
    record["model"]["type"] = text


def at_dataset(record: Record, text: str) -> None:
    record["arguments"]["dataset"] = text


def at_class(record: Record, text: str) -> None:
    record["arguments"]["class_names"] = [text] * 10


def at_frozen(record: Record, text: str) -> None:
    record["frozen"] = record["eval"] = [text]


def at_transform(record: Record, text: str) -> None:
    record["preprocessing"] = [{"type": "ToFloat", text: 1}]


def at_schedule(record: Record, text: str) -> None:
    record["schedule"]["type"] = text


def at_group(record: Record, text: str) -> None:
    record["optimizer"]["groups"] = [{"parameters": [text], text: text}]


RECORD_FIELDS = {
    "class's name": at_class,
    "frozen parameter": at_frozen,
    "transform's argument": at_transform,
    "schedule's type": at_schedule,
    "group of parameters": at_group,
    "argument's name": at_argument,
    "argument's value": at_value,
    "version": at_version,
    "format": at_format,
    "environment": at_environment,
    "optimizer's type": at_optimizer,
    "layer's name": at_layer,
    "layer's type": at_type,
    "data set": at_dataset,
}


def without_report() -> None:
    """Spare a resumed run its report, whose pictures take seconds."""
    mock.patch("nplenet.commands.train.write_report", return_value=True).start()


def on_terminal(change: Callable[[Record, str], None], texts: tuple[str, ...]) -> Case:
    """Use a checkpoint with a string in a field; somewhere it must be shown."""

    def case(bench: Bench) -> str:
        saved, shown, digit = load(bench.make_run()), 0, bench.new(".png")
        digit.write_bytes(DIGIT)
        for text in texts:
            record, path = copy.deepcopy(saved.record), bench.new(".safetensors")
            change(record, text)
            write_file(path, saved.tensors, record)
            for how in USES:
                words = USES[how].format(path, new=bench.new(), image=digit).split()
                outcome = bench.nplenet(*words, prepare=without_report)
                if wrong := fault(outcome):
                    return f"{how}: {text!r}: {wrong}"
                shown += MARK in outcome.out + outcome.err
        return "" if shown >= len(texts) else f"shown {shown} times only"

    return case


def file_name(bench: Bench) -> str:
    for text in (*ALL_ESCAPES, MARKUP[0], MARKUP[6]):
        name = text.replace("\0", "").replace("/", "").replace("\ud800", "")
        for words in (["info", name], ["predict", "default", name], ["report", name]):
            if wrong := fault(bench.nplenet(*words), (2,)):
                return f"{words[0]} {name!r}: {wrong}"
        path = bench.work / f"{name}.safetensors"
        shutil.copy(bench.make_run(), path)
        for how in ("info", "draw"):
            words = ["info", path] if how == "info" else ["draw", path, "--no-open", "--output"]
            more = [bench.work / f"{name}.html"] if how == "draw" else []
            if wrong := fault(bench.nplenet(*words, *more), (0,)):
                return f"{how} {name!r}: {wrong}"
    return ""


def option(bench: Bench) -> str:
    for text in ALL_ESCAPES:
        for words in (
            ["--lr", text],
            ["--dataset", text],
            [text],
            [f"--{text}"],
            ["--resume", text],
        ):
            words = [word.replace("\0", "") for word in words]
            if wrong := fault(bench.nplenet("train", *words), (2,)):
                return f"{words!r}: {wrong}"
    return ""


# ------------------------------------------------------------------ HTML


class Structure(HTMLParser):
    """The elements of a page and their attributes, without the texts in them."""

    TEXTS = ("alt", "aria-label", "value", "title")

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[Any] = []
        self.policies: list[set[str]] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kept = [(name, None if name in self.TEXTS else value) for name, value in attrs]
        self.found.append((tag, kept))
        self.text += "".join(value or "" for name, value in attrs if name in self.TEXTS)
        if dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policies.append(set((dict(attrs)["content"] or "").split("; ")))

    def kinds(self) -> list[Any]:
        """Return the elements and attributes that there are, each once."""
        tags = {tag for tag, _ in (e for e in self.found if isinstance(e, tuple))}
        return [
            sorted(tags),
            sorted({n for e in self.found if isinstance(e[1], list) for n, _ in e[1]}),
        ]

    def handle_endtag(self, tag: str) -> None:
        self.found.append(f"/{tag}")

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment", data))

    def handle_decl(self, decl: str) -> None:
        self.found.append(("declaration", decl))

    def unknown_decl(self, data: str) -> None:
        self.found.append(("unknown declaration", data))

    def handle_pi(self, data: str) -> None:
        self.found.append(("instruction", data))

    def handle_data(self, data: str) -> None:
        self.text += data


def report_with(bench: Bench, field: str, text: str, pictures: bool = False) -> str:
    """Return the report of a run with a string in a field."""
    folder = bench.new()
    folder.mkdir()
    record = json.loads((bench.run / "history.json").read_text())
    model = load_model(bench.run / LATEST)
    if field == "layer's name":
        layers = [*model.features, *model.classifier]  # type: ignore[attr-defined]
        names = [text, *(f"layer{i}" for i in range(1, len(layers)))]
        model = Sequential(**dict(zip(names, layers, strict=True)))
    elif field == "argument's name":
        record["arguments"][text] = 1
    elif field == "argument's value":
        record["arguments"]["own"] = text
    elif field == "environment's name":
        record["environment"][text] = "1"
    elif field == "environment":
        record["environment"]["numpy"] = text
    elif field == "interrupted":
        record["interrupted"] = text
    elif field == "tunable's name":
        record["tunables"] = {text: 1}
    elif field == "further field":
        record[text] = text
    (folder / "history.json").write_text(json.dumps(record))
    save_model(model, folder / LATEST)
    if pictures:
        return write_report(folder).read_text()
    plots = mock.MagicMock(**{"worst_mistakes.return_value.axes": []})
    drawn = mock.Mock(return_value=Html("<svg></svg>"))
    with mock.patch.multiple("nplenet.report.sections", plots=plots, figure=drawn, charts=drawn):
        return write_report(folder).read_text()


def drawing_page_with(bench: Bench, field: str, text: str) -> str:
    path = bench.new(".html")
    inner = Sequential(**{"a": Flatten(), text: Dense(1024, 10)})
    write_page(Sequential(**{text: inner}) if field == "chain's name" else inner, path)
    return path.read_text()


REPORT_FIELDS = (
    *("layer's name", "argument's name", "argument's value", "environment's name", "environment"),
    *("interrupted", "tunable's name", "further field"),
)
PAGE_FIELDS = ("name of a layer", "chain's name")
NOT_SHOWN = ("further field",)


@functools.cache
def plain_page(make: Callable[[Bench, str, str], str], bench: Bench, field: str) -> Structure:
    return Structure(make(bench, field, "harmless"))


def why_not_inert(
    make: Callable[[Bench, str, str], str], bench: Bench, field: str, text: str
) -> str:
    """Compare a page with the same one whose string is harmless."""
    plain = plain_page(make, bench, field)
    try:
        page = Structure(make(bench, field, text))
    except (ValueError, TypeError) as error:  # refused: no page is written
        return "" if printable(error) == str(error) or "\n" not in str(error) else str(error)
    if make is with_pictures:  # whose drawings differ with the length of a text
        page.found, plain.found = page.kinds(), plain.kinds()
    if page.found != plain.found:
        first = next(
            (a for a, b in zip(page.found, plain.found, strict=False) if a != b), "its length"
        )
        return f"{text!r} changes the elements: {first}"
    if not page.policies or not page.policies[0] >= CSP:
        return f"its policy is {page.policies}"
    if MARK not in page.text and field not in NOT_SHOWN:
        return f"{text!r} is not shown"
    return ""


def in_html(
    make: Callable[..., str], field: str, texts: tuple[str, ...] = MARKUP + ESCAPES
) -> Case:
    def case(bench: Bench) -> str:
        bench.make_run()

        def work() -> int:
            faults = filter(None, (why_not_inert(make, bench, field, text) for text in texts))
            print(next(faults, ""), end="")
            return 0

        outcome = bench.forked(work, 60)
        return outcome.out if outcome.status == 0 else f"{outcome.status}: {outcome.err[-400:]}"

    return case


def with_pictures(bench: Bench, field: str, text: str) -> str:
    return report_with(bench, field, text, pictures=True)


def templates(bench: Bench) -> str:
    """The policy stands in both pages before all that it is for."""
    for name in ("report/report.html", "page/page.html"):
        source = (Path(nplenet.__file__).parent / name).read_text()
        place, first = source.find("Content-Security-Policy"), source.find("$")
        if not place > 0 or (0 <= first < place and "title" not in source[first : first + 12]):
            return f"{name}: the policy is not before the first string"
    return ""


def at_random(bench: Bench) -> Iterator[tuple[str, str]]:
    number = 0
    while bench.goes_on(number):
        rng = random.Random(f"{bench.seed} strings {number}")
        texts, kind = tuple(hostile(rng) for _ in range(4)), rng.randrange(3)
        if kind == 0:
            field = rng.choice(sorted(RECORD_FIELDS))
            case = on_terminal(RECORD_FIELDS[field], texts[:1])
        elif kind == 1:
            field = rng.choice(REPORT_FIELDS)
            case = in_html(report_with, field, texts)
        else:
            field = rng.choice(PAGE_FIELDS)
            case = in_html(drawing_page_with, field, texts)
        yield f"strings {number} of seed {bench.seed}: {field} {texts!r}", case(bench)
        number += 1


CASES = {
    f"terminal: {name}": on_terminal(change, ALL_ESCAPES) for name, change in RECORD_FIELDS.items()
}
CASES |= {"terminal: name of a file": file_name, "terminal: option": option}
CASES |= {
    f"terminal: HTTP {name}": mirror_case(name, False)
    for name in ("with_escapes", "with_escapes_for_a_protocol")
}
CASES |= {f"report: {field}": in_html(report_with, field) for field in REPORT_FIELDS}
CASES |= {f"drawing page: {field}": in_html(drawing_page_with, field) for field in PAGE_FIELDS}
CASES["report with pictures: layer's name"] = in_html(with_pictures, "layer's name", ALL_MARKUP[:1])
CASES["the policy"] = templates
FIGURES = [Figure("strings of strangers", CASES, at_random, 0.1)]
