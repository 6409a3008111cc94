"""A kernel's text as a syntax tree: how large it is, and whether another text says the same.

Comments and layout are not in a tree; docstrings are left out of it. For sameness the names of locals do not count
either: each gets the number of its first appearance. A local keeps its name where somebody could ask for it by name: a
parameter that any call names, and whatever stands in a string (numba's `locals={"x": ...}`).
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from typing import Final

from pytest_lance_ar.trial.bare import bare, parsed

SHORT_TEXT: Final = 8
"""Characters of a text, or bytes of a number, that are its one node; what it has beyond counts as further nodes: code
put into texts is not simpler, nor in names or numbers."""
SHORT_NAME: Final = 24
"""As many of a name: no kernel is simpler for names that say less."""
_CHARACTERS_A_NODE: Final = 2
"""Code written as short as can be has more."""

_Function = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_Comprehension = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def size(source: bytes) -> int | None:
    """How many nodes the tree has; None for what is no Python. Where a process gets more than the tree, all counts."""
    tree = parsed(source)
    if tree is None:
        return None
    nodes = sum(1 + _text_nodes(node) for node in ast.walk(tree))
    return nodes if bare(source) is not None else nodes + len(source)


def digest(source: bytes) -> str | None:
    """The same for two texts exactly when they say the same, comments, layout, docstrings and names of locals aside.

    None for what is no Python.
    """
    tree = parsed(source)
    if tree is None:
        return None
    try:
        _Renaming(tree).visit(tree)
        return hashlib.sha256(ast.dump(tree, annotate_fields=False).encode(errors="surrogatepass")).hexdigest()
    except (RecursionError, MemoryError, ValueError):  # ValueError: a number too long to be written
        return None


def _text_nodes(node: ast.AST) -> int:
    length = sum(_length(value) for _, value in ast.iter_fields(node))  # not where it stands
    short = SHORT_TEXT if isinstance(node, ast.Constant) else SHORT_NAME
    return max(0, length - short) // _CHARACTERS_A_NODE


def _length(value: object) -> int:
    """Of a name, several names, or a constant."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, list):
        return sum(len(name) for name in value if isinstance(name, str))
    return value.bit_length() // 8 if isinstance(value, int) else 0


class _Scope:
    """A function's or a comprehension's own names, each with its number once it has appeared."""

    def __init__(self, names: set[str], outer: _Scope | None) -> None:
        self.names = names
        self.outer = outer
        self.numbers: dict[str, str] = {}


class _Renaming(ast.NodeTransformer):
    """Gives every local the number of its first appearance, in place."""

    def __init__(self, tree: ast.Module) -> None:
        self._scope: _Scope | None = None
        self._count = 0
        nodes = list(ast.walk(tree))
        self._asked_for = {node.arg for node in nodes if isinstance(node, ast.keyword) and node.arg}
        self._in_texts = {
            node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }

    def _renamed(self, name: str) -> str:
        scope = self._scope
        while scope is not None and name not in scope.names:
            scope = scope.outer
        if scope is None:
            return name
        if name not in scope.numbers:
            scope.numbers[name] = f"<{self._count}>"  # no name of Python's
            self._count += 1
        return scope.numbers[name]

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> ast.AST:
        arguments = node.args
        for outside in (*arguments.defaults, *filter(None, arguments.kw_defaults)):
            self.visit(outside)
        if not isinstance(node, ast.Lambda):
            for outside in (*node.decorator_list, *([node.returns] if node.returns else [])):
                self.visit(outside)
            node.name = self._renamed(node.name)
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        named += [one for one in (arguments.vararg, arguments.kwarg) if one]
        for argument in named:
            if argument.annotation:
                self.visit(argument.annotation)
        parameters = {argument.arg for argument in named}
        body = node.body if isinstance(node.body, list) else [node.body]
        bound, of_module, of_outer = _bindings(body)
        own = (bound - of_module - of_outer - parameters) | (parameters - self._asked_for)
        hidden = ((parameters | bound) - of_outer) | of_module
        self._scope = _Scope(own - self._in_texts, _hiding(self._scope, hidden))
        for argument in named:
            argument.arg = self._renamed(argument.arg)
        for inside in body:
            self.visit(inside)
        self._scope = self._outer()
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _function  # noqa: N815 the names that ast calls

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        for outside in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(outside)
        node.name = self._renamed(node.name)
        # A class's own names are attributes: they keep their names, and hide a function's inside the class itself.
        bound, *_ = _bindings(node.body)
        self._scope = _Scope(set(), _hiding(self._scope, bound))
        for inside in node.body:
            self.visit(inside)
        self._scope = self._outer()
        return node

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> ast.AST:
        self.visit(node.generators[0].iter)
        targets = {n.id for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)}
        self._scope = _Scope(targets - self._in_texts, _hiding(self._scope, targets & self._in_texts))
        for number, generator in enumerate(node.generators):
            self.visit(generator.target)
            if number:
                self.visit(generator.iter)
            for condition in generator.ifs:
                self.visit(condition)
        for part in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            self.visit(part)
        self._scope = self._outer()
        return node

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815 the names that ast calls

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._renamed(node.id)
        return node

    def visit_alias(self, node: ast.alias) -> ast.AST:
        bound = node.asname or node.name
        if self._renamed(bound) != bound:
            node.asname = self._renamed(bound)
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = self._renamed(node.name) if node.name else None
        return self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> ast.AST:
        node.name = self._renamed(node.name) if node.name else None
        return self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> ast.AST:
        node.name = self._renamed(node.name) if node.name else None
        return node

    def visit_MatchMapping(self, node: ast.MatchMapping) -> ast.AST:
        node.rest = self._renamed(node.rest) if node.rest else None
        return self.generic_visit(node)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        node.names = [self._renamed(name) for name in node.names]
        return node

    def _outer(self) -> _Scope | None:
        assert self._scope is not None
        outer = self._scope.outer
        return outer.outer if isinstance(outer, _Hidden) else outer


class _Hidden(_Scope):
    """Names that stand for something else from here on inwards, and keep their names."""

    def __init__(self, names: set[str], outer: _Scope | None) -> None:
        super().__init__(names, outer)
        self.numbers = {name: name for name in names}


def _hiding(scope: _Scope | None, names: set[str]) -> _Scope | None:
    return _Hidden(names, scope) if scope is not None else None


def _inside(nodes: list[ast.stmt] | list[ast.expr]) -> Iterator[ast.AST]:
    """All nodes of one scope: not those inside the functions, classes and comprehensions in it, but for `:=`."""
    waiting: list[tuple[ast.AST, bool]] = [(node, False) for node in nodes]
    while waiting:
        node, nested = waiting.pop()
        if not nested or isinstance(node, ast.NamedExpr):
            yield node
        if nested and isinstance(node, ast.NamedExpr):
            yield node.target
        if isinstance(node, (*_Function, ast.ClassDef)):
            continue
        waiting += [(child, nested or isinstance(node, _Comprehension)) for child in ast.iter_child_nodes(node)]


def _bindings(body: list[ast.stmt] | list[ast.expr]) -> tuple[set[str], set[str], set[str]]:
    """The names that a scope binds, and those that it says are the module's, and an outer function's."""
    bound: set[str] = set()
    of_module: set[str] = set()
    of_outer: set[str] = set()
    for node in _inside(body):
        if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            bound.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            # `import a.b` binds a, and asks for it by name.
            bound |= {one.asname or one.name for one in node.names if one.asname or "." not in one.name}
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            bound.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            bound.add(node.rest)
        elif isinstance(node, ast.Global):
            of_module.update(node.names)
        elif isinstance(node, ast.Nonlocal):
            of_outer.update(node.names)
    return bound, of_module, of_outer
