"""Which submissions read alike: copies under other names are found, the same task solved independently is not."""

import ast
import copy
import csv
import importlib
import inspect
import itertools
import random
import textwrap
from types import SimpleNamespace

import nbformat
import pytest

from course.grading.similarity import (
    FEWEST,
    SHARE,
    alike,
    given,
    grams,
    prints,
    public,
    tokens,
    winnow,
    write_similar,
)
from course.grading.submissions import grade_id, is_answer, rebuild
from course.publish.build import ROOT

SETS = ["ps1_autoregressive", "ps2_vae", "ps3_gan"]


def notebooks(name):
    paths = (f"solutions/{name}/{name}.ipynb", f"notebooks/assignments/{name}/{name}.ipynb")
    return [nbformat.read(ROOT / path, as_version=4) for path in paths]


MASTER, RELEASE = notebooks("ps2_vae")


@pytest.fixture
def course(tmp_path):
    def path(stage, student):
        return tmp_path / stage / f"{student}.ipynb"

    (tmp_path / "submitted").mkdir()
    return SimpleNamespace(out=tmp_path, path=path, master=MASTER, release=RELEASE)


def hand_in(course, student, answers, own=()):
    """A submission with some answers, as grading leaves it."""
    nb = copy.deepcopy(RELEASE)
    for cell in nb.cells:
        if is_answer(cell):
            cell.source = answers.get(grade_id(cell), cell.source)
    nb.cells[3:3] = [nbformat.v4.new_code_cell(source) for source in own]
    nbformat.write(rebuild(nb, MASTER, RELEASE)[0], course.path("submitted", student))


def similar(course, *students):
    pairs = write_similar(course, students)
    with (course.out / "similar.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == pairs
    return rows


SOLVED = {grade_id(c): c.source for c in MASTER.cells if is_answer(c)}


def disguised(source):
    """Local names changed, comments and blank lines put in, numbers written otherwise."""
    tree = ast.parse(source)
    given = {x.arg for x in ast.walk(tree) if isinstance(x, ast.arg)}
    local = {
        x.id for x in ast.walk(tree) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in local - given:
            node.id = f"my_{node.id[::-1]}"
        elif isinstance(node, ast.arg):
            node.annotation = None
    lines = ast.unparse(tree).splitlines()
    return "\n".join(f"{line}  # step {i} of mine" for i, line in enumerate(lines))


def independent():
    """Right answers of the graders' tests in different styles, and the course's own: (where, fingerprints) by task."""
    for name in SETS:
        master, release = notebooks(name)
        ignored = given(release)
        answers = {task: [("solution", found)] for task, found in prints(master, ignored).items()}
        seen = set()
        for task, factory in importlib.import_module(
            f"course.assignments.{name}.test_grader"
        ).bank.rights:
            source = textwrap.dedent(inspect.getsource(factory))
            if source in seen:  # one text makes several answers from functions that stand elsewhere
                continue
            seen.add(source)
            [function] = [x for x in ast.parse(source).body if isinstance(x, ast.FunctionDef)]
            code = "\n".join(map(ast.unparse, function.body))
            found = winnow(grams(code, "code")) - ignored
            answers.setdefault(task, []).append((factory.__name__, found))
        for task, styles in answers.items():
            yield f"{name}-{task}", styles


def test_right_answers_in_different_styles_do_not_read_alike():
    """What SHARE rests on: the most that two of them have in common is 0.30."""
    shares = {}
    for where, styles in independent():
        for (one, a), (two, b) in itertools.combinations(styles, 2):
            if min(len(a), len(b)) >= FEWEST:
                shares[where, one, two] = len(a & b) / min(len(a), len(b))
            pair = {"ada": {"task": a}, "bob": {"task": b}}
            assert list(alike(pair)) == [], (where, one, two)
    assert len(shares) >= 20
    assert max(shares.values()) < 0.7 * SHARE, max(shares, key=shares.get)


def test_a_copy_with_other_names_and_comments_is_found(course):
    code = {k: v for k, v in SOLVED.items() if v.lstrip().startswith(("def", "import", "from"))}
    hand_in(course, "ada", SOLVED)
    hand_in(course, "bob", {k: disguised(v) for k, v in code.items()})
    hand_in(course, "eve", {})
    [row] = similar(course, "ada", "bob", "eve", "nobody")
    assert (row["first"], row["second"]) == ("ada", "bob") and float(row["share"]) > 0.9
    tasks = dict(x.split(" ") for x in row["tasks"].split("; "))
    assert {"log_evidence", "posterior", "sweep", "importance_bound"} <= set(tasks)


def test_one_copied_answer_among_many_of_ones_own_is_found_where_ever_it_stands(course):
    hand_in(course, "ada", {"sweep-answer": SOLVED["sweep-answer"]})
    hand_in(course, "bob", {}, own=[disguised(SOLVED["sweep-answer"])])
    [row] = similar(course, "ada", "bob")
    assert "sweep" in row["tasks"] and float(row["share"]) > 0.9


def test_what_the_course_gives_and_short_answers_do_not_count(course):
    [path] = (ROOT / "notebooks").glob("*_vae.ipynb")
    lesson = nbformat.read(path, as_version=4)
    shown = [cell.source for cell in lesson.cells if cell.cell_type == "code"]
    short = {
        "kl-answer": "def kl(mean, log_std):\n    return (mean - log_std).exp().square().sum(-1)"
    }
    for student in ("ada", "bob"):
        hand_in(course, student, short, own=shown)
    assert similar(course, "ada", "bob") == []
    assert (course.out / "similar.csv").read_text() == "first,second,share,tasks\n"


def test_written_answers_are_compared_by_their_words(course):
    [name] = [k for k in SOLVED if k.startswith("collapse")]
    words = SOLVED[name].split()
    generator = random.Random(0)
    for i in generator.sample(range(len(words)), len(words) // 12):
        words[i] = "indeed"
    hand_in(course, "ada", {name: SOLVED[name]})
    hand_in(course, "bob", {name: " ".join(words).upper()})
    own = (
        "Nothing is wrong. The prior alone explains every direction that is weaker than the noise, "
        * 2
    )
    hand_in(
        course,
        "eve",
        {name: own + "so its code would cost more than it saves, whatever the encoder."},
    )
    [row] = similar(course, "ada", "bob", "eve")
    assert (row["first"], row["second"]) == ("ada", "bob") and row["tasks"].startswith("collapse ")


def test_what_a_quarter_of_a_large_class_writes_does_not_count():
    common, rare = set(range(30)), set(range(100, 130))
    everybody = {f"s{i:02d}": {"kl": common | {1000 * i + j for j in range(9)}} for i in range(12)}
    assert list(alike(everybody)) == []
    everybody |= {name: {"kl": common | rare} for name in ("ada", "bob")}
    assert list(alike(everybody)) == [("ada", "bob", [(1.0, "kl")])]


@pytest.mark.parametrize(
    "source",
    ["def f(:", "-" * 40000 + "1", "(" * 40000, "x" + ".y" * 20000, "1" + "+1" * 20000, "\0",
     "'\ud800'", "x = '\\d'", "f'{x!r:>{y}}'"],
)  # fmt: skip
def test_no_answer_stops_the_comparison(source):
    assert isinstance(grams(source, "code"), list) and isinstance(grams(source, "markdown"), list)


def test_names_of_the_students_own_do_not_matter_and_those_of_torch_do():
    plain = "def f(x):\n    y = x.exp()\n    return torch.sum(y, dim=1)"
    assert tokens(plain) == tokens(
        "def f(x):\n    mean = x.exp()  # a\n    return torch.sum(mean, dim=0)"
    )
    assert tokens(plain) != tokens(plain.replace("exp", "log"))
    assert tokens("mean = x.mean()") == tokens("m = x.mean()")
    one = "class A(nn.Module):\n    def go(self):\n        self.w = 1\n        return self.go() + self.w"
    assert tokens(one) == tokens(one.replace("go", "run").replace("w", "weight"))


def test_hidden_tests_and_solutions_are_not_public():
    sweep = winnow(grams(SOLVED["sweep-answer"], "code")) - given(RELEASE)
    assert len(sweep & public()) < len(sweep) / 4
