"""What in a submission a person should look at: words, never points."""

import ast
import copy
import re

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from course.grading.submissions import is_answer

NETWORK = {"socket", "urllib", "requests", "http", "ftplib", "smtplib", "aiohttp"}
SYSTEM = {"subprocess", "multiprocessing", "ctypes", "pty", "signal", "gc", "inspect"}
OWNED = {"torch", "np", "numpy", "builtins", "__builtins__", "math", "F", "nn", "genlib", "checks"}
ENDS = {"_exit", "fork", "kill", "abort", "system", "popen", "execv"}
LOADS = ("torch.load", "pickle.load", "pickle.loads")
WORDS = (
    "course.assignments",
    "solutions/",
    "hand_in",
    "GENLIB_INPUTS",
    "gradebook",
    "connection_file",
)


def suspicious(nb: NotebookNode) -> list[str]:
    """What in a submission's own cells has no place in an answer. Words for a person: it costs no points.

    Example:
        >>> import nbformat
        >>> nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("torch.allclose = print")])
        >>> suspicious(nb)
        ['cell 1 assigns torch.allclose']
    """
    found = []
    for i, cell in enumerate(nb.cells):
        about = cell.metadata.get("nbgrader", {})
        if cell.cell_type != "code" or (about and not is_answer(cell)):
            continue
        found += [f"cell {i + 1} {words}" for words in suspicious_code(cell.source)]
    return list(dict.fromkeys(found))


def suspicious_code(source: str) -> list[str]:
    found = [f"mentions {word}" for word in WORDS if word in source]
    if re.search(r"/proc\b", source):
        found.append("mentions /proc")
    if re.search(r"^\s*[!%]", source, re.MULTILINE):
        found.append("uses a magic or shell command")
    try:
        tree = ast.parse(TransformerManager().transform_cell(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return [*found, "is not Python"]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            path = ast.unparse(node)
            if path in LOADS:
                found.append(f"uses {path}")
            elif node.attr in ("glob", "rglob", "iglob"):
                found.append(f"uses {node.attr}")
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.split(".")[0] in NETWORK | SYSTEM | {"glob"}:
                    found.append(f"imports {name}")
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            path = ast.unparse(node)
            if path.split(".")[0] in OWNED:
                found.append(f"assigns {path}")
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)[:60]
            if name == "setattr" and node.args and ast.unparse(node.args[0]).split(".")[0] in OWNED:
                found.append(f"assigns an attribute of {ast.unparse(node.args[0])[:60]}")
            if name in ("eval", "exec", "__import__", "get_ipython", "open", "compile"):
                found.append(f"calls {name}")
            if name.split(".")[0] == "os" and name.split(".")[-1] in ENDS:
                found.append(f"calls {name}")
    return list(dict.fromkeys(found))


def untrained(nb: NotebookNode, master: NotebookNode, release: NotebookNode) -> list[str]:
    """Answers without an optimiser where the course's own solution has one."""
    trains, gaps = (
        {c.metadata.nbgrader.grade_id: c.source for c in x.cells if is_answer(c)}
        for x in (master, release)
    )
    ours = {c.source for c in master.cells}
    own = [c.source for c in nb.cells if not c.metadata.get("nbgrader") and c.source not in ours]
    found = []
    for cell in nb.cells:
        if cell.cell_type != "code" or not is_answer(cell):
            continue
        name = cell.metadata.nbgrader.grade_id
        asked = re.search(r"torch\.optim|\.backward\(", trains.get(name, ""))
        if not asked or cell.source == gaps.get(name):
            continue
        if not re.search(r"optim|\.backward\(|\bfit\(", "\n".join([cell.source, *own])):
            found.append(f"{name}: no optimiser in the answer, and training was asked")
    return found


def without_magic(nb: NotebookNode, master: NotebookNode) -> tuple[NotebookNode, list[str]]:
    """A notebook whose students' cells ask nothing of the shell or of IPython, and what was left out."""
    nb, found = copy.deepcopy(nb), []
    ours = {c.source for c in master.cells}
    for i, cell in enumerate(nb.cells):
        about = cell.metadata.get("nbgrader", {})
        if cell.cell_type != "code" or cell.source in ours or (about and not is_answer(cell)):
            continue
        try:
            python = TransformerManager().transform_cell(cell.source)
            ast.parse(python)
            refused = "get_ipython" in python
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            refused = bool(re.search(r"[!%]|get_ipython", cell.source))
        if refused:
            words = "it uses a shell command or magic"
            cell.source = f'raise RuntimeError("not run without a jail: {words}")'
            found.append(f"cell {i + 1} was not run: {words}")
        else:
            # a cell of one line could be a magic's bare name ("pip install x"); one of two is Python
            cell.source = f"# run without a jail\n{cell.source}\n# end"
    return nb, found
