"""Mutants of a lesson's solutions, handed to its checks: which pass?

    python tests/mutate.py vae            # all steps of a lesson
    python tests/mutate.py vae kl gap     # some

Each mutant changes one operator, number, argument or call of a right answer, drops one term, or detaches one argument.
A mutant that passes is equivalent, or shows an input that is missing. Prints the share refused, and what passed.
"""

import ast
import contextlib
import copy
import io
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

from course.checking.core import Wrong
from course.checking.suite import ROOT, Bank

OPERATORS = {
    ast.Add: [ast.Sub], ast.Sub: [ast.Add], ast.Mult: [ast.Div, ast.Add], ast.Div: [ast.Mult], ast.Pow: [ast.Mult],
    ast.FloorDiv: [ast.Div], ast.Mod: [ast.FloorDiv], ast.MatMult: [],
    ast.Lt: [ast.LtE, ast.Gt], ast.LtE: [ast.Lt, ast.Gt], ast.Gt: [ast.GtE, ast.Lt], ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.And: [ast.Or], ast.Or: [ast.And],
    ast.BitAnd: [ast.BitOr], ast.BitOr: [ast.BitAnd],
}  # fmt: skip
NAMES = {
    "sum": ["mean", "amax"], "mean": ["sum"], "exp": ["log"], "log": ["exp", "log2"], "randn": ["rand"],
    "rand": ["randn"], "randn_like": ["rand_like"], "rand_like": ["randn_like"], "max": ["min"], "min": ["max"],
    "argmax": ["argmin"], "argmin": ["argmax"], "amax": ["amin"], "amin": ["amax"], "logsumexp": ["amax"],
    "softmax": ["log_softmax"], "log_softmax": ["softmax"], "sqrt": ["square"], "square": ["abs"], "any": ["all"],
    "all": ["any"], "var": ["std"], "std": ["var"], "cumsum": ["cumprod"], "zeros": ["ones"], "ones": ["zeros"],
    "zeros_like": ["ones_like"], "ones_like": ["zeros_like"], "relu": ["sigmoid"], "tanh": ["sigmoid"],
    "sigmoid": ["tanh"], "softplus": ["relu"], "logsigmoid": ["sigmoid"], "repeat": ["repeat_interleave"],
}  # fmt: skip


def changes(node: ast.AST, trained: set[str]) -> Iterator[ast.AST]:
    """What may stand in the place of a node."""

    def but(**fields: Any) -> ast.AST:
        other = copy.copy(node)
        for key, value in fields.items():
            setattr(other, key, value)
        return other

    match node:
        case ast.BinOp():
            yield from (but(op=op()) for op in OPERATORS.get(type(node.op), []))
            yield from (node.left, node.right)
        case ast.BoolOp():
            yield from (but(op=op()) for op in OPERATORS.get(type(node.op), []))
        case ast.Compare():
            for op in OPERATORS.get(type(node.ops[0]), []):
                yield but(ops=[op(), *node.ops[1:]])
        case ast.UnaryOp():
            yield node.operand
        case ast.Constant(value=bool()):
            yield but(value=not node.value)
        case ast.Constant(value=int() | float()):
            yield from (
                but(value=x)
                for x in (node.value + 1, node.value - 1, 2 * node.value)
                if x != node.value
            )
        case ast.Attribute():
            yield from (but(attr=name) for name in NAMES.get(node.attr, []))
        case ast.Call():
            yield from (
                but(args=[*node.args[:i], node.args[i + 1], node.args[i], *node.args[i + 2 :]])
                for i in range(len(node.args) - 1)
            )
            yield from (
                but(keywords=[*node.keywords[:i], *node.keywords[i + 1 :]])
                for i in range(len(node.keywords))
            )
            if node.args:
                yield node.args[0]
                yield but(args=node.args[:-1])
            if isinstance(node.func, ast.Attribute):
                yield node.func.value
        case ast.IfExp():
            yield from (node.body, node.orelse)
        case ast.Subscript():
            yield node.value
        case ast.Name(ctx=ast.Load()) if node.id in trained:
            yield ast.Call(ast.Name("_detached", ast.Load()), [node], [])  # fmt: skip


def mutants(function: ast.FunctionDef, trained: set[str]) -> Iterator[ast.FunctionDef]:
    """All functions that differ from this one in one place; arguments that are trained may be detached there."""
    places = [
        (parent, field, i)
        for statement in function.body
        for parent in ast.walk(statement)
        for field, value in ast.iter_fields(parent)
        for i in (range(len(value)) if isinstance(value, list) else [None])
        if isinstance(value if i is None else value[i], ast.expr)
    ]
    for parent, field, i in places:
        value = getattr(parent, field)
        node = value if i is None else value[i]
        for other in changes(node, trained):
            setattr(parent, field, other) if i is None else value.__setitem__(i, other)
            yield copy.deepcopy(function)
            setattr(parent, field, node) if i is None else value.__setitem__(i, node)


def detached(x: Any) -> Any:
    return x.detach() if isinstance(x, torch.Tensor) else x


def passes(check: Callable[..., None], answer: Callable[..., Any]) -> bool:
    def stop(*_: Any) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            for seed in range(3):
                check(answer, seed=seed)
        return True
    except (Wrong, TimeoutError):
        return False
    finally:
        signal.alarm(0)


def main(lesson: str, *steps: str) -> None:
    bank = Bank(lesson)
    tree = ast.parse((ROOT / bank.source).read_text())
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    all_refused = all_made = 0
    for name in steps or bank.steps:
        original = ast.unparse(functions[name]).splitlines()
        seen, survivors = {ast.unparse(functions[name])}, []
        for mutant in mutants(functions[name], set(bank.step(name).gradient)):
            text = ast.unparse(mutant)
            if text in seen:
                continue
            seen.add(text)
            namespace = {**bank.solutions, "_detached": detached}
            try:
                exec(compile(text, "<mutant>", "exec"), namespace)
            except SyntaxError:  # a star without its brackets
                seen.remove(text)
                continue
            if passes(bank.step(name), namespace[name]):
                survivors.append(text)
        made = len(seen) - 1
        all_made, all_refused = all_made + made, all_refused + made - len(survivors)
        print(f"{name}: {made - len(survivors)} of {made} mutants refused")
        for text in survivors:
            changed = [b for a, b in zip(original, text.splitlines(), strict=False) if a != b]
            print("    passes:", changed[0].strip() if changed else text)
    print(f"{lesson}: {all_refused} of {all_made} mutants refused")


if __name__ == "__main__":
    main(*sys.argv[1:])
