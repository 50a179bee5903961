"""The bank of problem set 1, graded as homework: through the jail, what is lost is what the bank says.

One submission hands in the first wrong answer to every task, the next the second, and so on; one hands in right
ones. Where a task has fewer, they come again. The bank travels in a cell of its own.
"""

import ast
import inspect
import re
import sys
from pathlib import Path

import nbformat
from grading_class import (
    MASTER,
    PS,
    TASKS,
    answered,
    grade,
    needs_jail,
    place,
    solution_tried,
    table,
)

from course.assignments.ps1_autoregressive.test_grader import bank
from course.grading.submissions import grade_id

SOURCE = Path(sys.modules[bank.wrongs[0][3].__module__].__file__)
STUBS = """
BANK = {"wrong": [], "right": []}

def remember(kind):
    return lambda task, **options: lambda factory: BANK[kind].append((task, factory)) or factory

wrong, right, VARIANTS = remember("wrong"), remember("right"), range(4)

def pick(kind, task, k):
    answers = [factory for name, factory in BANK[kind] if name == task]
    return answers[k](variant)
"""


def bank_cell():
    """The bank without its tests, as the code of a cell: `pick("wrong", task, k)` is an answer."""
    tree = ast.parse(SOURCE.read_text())
    kept = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "course.assignments"
        ):
            continue  # not in the jail
        if isinstance(node, ast.Import) and node.names[0].name == "pytest":
            continue
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            continue
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            continue
        if isinstance(node, ast.Assign) and "bank" in ast.unparse(node):
            continue
        kept.append(ast.unparse(node))
    # in a room of its own, for answers of the notebook have names that the bank's helpers also have
    source = STUBS + "\n\n".join(kept)
    return f"bank = {{'variant': dict(globals())}}\nexec({source!r}, bank)"


def function_of(task):
    """The name under which the notebook hands a task's function in."""
    test = MASTER.cells[place(MASTER, task)].source
    return re.search(rf'hand_in\("{PS}", "{task}", (\w+)', test)[1]


def place_of(k, task):
    """Of the k-th wrong answer to a task of those that can be sent into the jail, where course.assignments is not."""
    of_task = [w for w in bank.wrongs if w[0] == task]
    travel = [i for i, w in enumerate(of_task) if "graders." not in inspect.getsource(w[3])]
    return travel[k % len(travel)]


def submission(kind, k):
    nb = answered(names={(grade_id(cell) or "").removesuffix("-answer") for cell in MASTER.cells})
    for task in TASKS:
        i = place_of(k, task) if kind == "wrong" else k
        cell = nb.cells[place(nb, f"{task}-answer")]
        cell.source = f'{function_of(task)} = bank["pick"]("{kind}", "{task}", {i})'
    first = place(nb, "variant") + 1
    nb.cells.insert(first, nbformat.v4.new_code_cell(bank_cell()))
    return nb


def lost(k, task):
    """What the k-th wrong answer of those that travel loses."""
    return [w for w in bank.wrongs if w[0] == task][place_of(k, task)][1]


N_WRONG = 3


@needs_jail
def test_every_total_is_what_the_bank_says(tmp_path):
    """With questions that are this run's alone; that they never decide, the bank's own test asks many times over."""
    solution_tried(tmp_path)
    folder = tmp_path / "handed in"
    folder.mkdir()
    for k in range(N_WRONG):
        nbformat.write(submission("wrong", k), folder / f"wrong{k}.ipynb")
    nbformat.write(submission("right", 0), folder / "right0.ipynb")
    done = grade(PS, folder, "--out", tmp_path, "--jobs", 2)
    assert done.returncode == 0, done.stderr
    rows = table(tmp_path)
    assert len(rows) == N_WRONG + 1
    for name, row in rows.items():
        k = int(name[5:])
        for task, about in TASKS.items():
            loses = lost(k, task) if name.startswith("wrong") else 0
            assert float(row[task]) == about.max_points - loses, (name, task)
