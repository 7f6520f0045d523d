"""Find every use of TensorRT in a source file and hold it against the recorded interfaces.

The rules a file keeps, so that this is a check and not a guess:

1. The vendor's module is an attribute named `trt`, a variable assigned from one, or a parameter of type
   ModuleType.
2. A vendor object is bound to a variable, parameter or field annotated `tensorrt.<Class>` (in quotes where
   Python would evaluate it), or comes from a function of ours whose return annotation says so. `tensorrt` is
   imported under TYPE_CHECKING only.
3. A name that some release lacks stands where `hasattr(object, "name")` has ruled that release out: in an
   `if`, behind `and`, in a conditional expression, or after `if not hasattr(...)` that leaves the block. One
   guard is enough for all names that came with it.
4. Arguments are spelled out: no `*args`, and no computed attribute name but for a member of an enum class.

A value the rules do not cover is a problem, never a pass: "unknown vendor object".
"""

import ast
from dataclasses import dataclass, field

from vendor_ledger import Ledger, Releases
from vendor_source import (
    MODULE,
    UNKNOWN,
    Env,
    Vendor,
    annotated,
    expressions_in,
    instance_of,
)

LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)


@dataclass
class Checker(Ledger):
    """Walks one file. `returns` are our functions that give vendor objects, `fields` its attributes."""

    returns: Env = field(default_factory=dict)
    fields: Env = field(default_factory=dict)

    def check(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.AnnAssign) and (vendor := annotated(node.annotation)):
                target = node.target
                if isinstance(target, ast.Attribute):
                    self.fields[target.attr] = vendor
        for owner in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            for item in owner.body:
                if isinstance(item, ast.AnnAssign) and (vendor := annotated(item.annotation)):
                    self.fields[ast.unparse(item.target)] = vendor
        self.block(tree.body, {}, self.all_releases())

    # statements

    def block(self, statements: list[ast.stmt], env: Env, possible: Releases) -> None:
        for statement in statements:
            self.statement(statement, env, possible)
            if isinstance(statement, ast.If) and isinstance(statement.body[-1], LEAVES):
                possible = self.narrow(statement.test, False, env, possible)

    def statement(self, node: ast.stmt, env: Env, possible: Releases) -> None:
        match node:
            case ast.FunctionDef():
                self.function(node, env)
            case ast.ClassDef():
                self.subclass(node, env)
                self.block(node.body, dict(env), possible)
            case ast.If():
                self.value(node.test, env, possible)
                self.block(node.body, env, self.narrow(node.test, True, env, possible))
                self.block(node.orelse, env, self.narrow(node.test, False, env, possible))
            case ast.AnnAssign():
                self.annotated_assignment(node, env, possible)
            case ast.Assign():
                found = self.value(node.value, env, possible)
                for target in node.targets:
                    self.bind(target, found, env, possible, self.is_declared(node.value))
            case _:
                self.other_statement(node, env, possible)

    def other_statement(self, node: ast.AST, env: Env, possible: Releases) -> None:
        """Check the expressions and blocks of `with`, `for`, `try`, `match`, `return` and the rest."""
        for _, child in ast.iter_fields(node):
            for part in child if isinstance(child, list) else [child]:
                if isinstance(part, ast.expr):
                    self.value(part, env, possible)
                elif isinstance(part, ast.ExceptHandler | ast.withitem | ast.match_case):
                    self.other_statement(part, env, possible)
            if isinstance(child, list) and child and isinstance(child[0], ast.stmt):
                self.block(child, env, possible)

    def function(self, node: ast.FunctionDef, env: Env) -> None:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        local = {**env, **{item.arg: vendor for item in arguments if (vendor := annotated(item.annotation))}}
        self.block(node.body, local, self.all_releases())

    def subclass(self, node: ast.ClassDef, env: Env) -> None:
        """Hold the methods of a class derived from a vendor's against what they override."""
        bases = [self.value(base, env, self.all_releases()) for base in node.bases]
        for base in (base for base in bases if base and base.kind == "class"):
            for method in (item for item in node.body if isinstance(item, ast.FunctionDef)):
                arguments = [argument.arg for argument in method.args.args[1:]]
                for api in self.apis:
                    known = [overload["arguments"] for overload in api.overloads(base.name, method.name)]
                    if not method.name.startswith("_") and arguments not in known:
                        label = f"{base.name}.{method.name}"
                        self.problem(method, f"{label}{arguments} overrides {known} in {api.name}")

    def annotated_assignment(self, node: ast.AnnAssign, env: Env, possible: Releases) -> None:
        said = annotated(node.annotation)
        found = self.value(node.value, env, possible) if node.value else None
        recorded = found and any(api.has_class(found.name) for api in self.apis)  # some have C++ names
        if said and found and recorded and said.kind == found.kind == "instance" and said != found:
            self.problem(node, f"annotated tensorrt.{said.name}, the record says tensorrt.{found.name}")
        if isinstance(node.target, ast.Name):
            env.pop(node.target.id, None)
            if said:
                env[node.target.id] = said
            elif found and found.kind == "instance":
                self.unknown(node, node.target.id, found.name)

    def bind(
        self, target: ast.expr, found: Vendor | None, env: Env, possible: Releases, declared: bool = False
    ) -> None:
        """Follow a plain assignment; a vendor object needs an annotation, or comes from where one is."""
        if isinstance(target, ast.Attribute):
            self.store(target, found, env, possible)
        elif isinstance(target, ast.Name):
            before = env.pop(target.id, None)
            known = declared or before == found
            if found and found.kind == "instance" and not known and not self.is_enum(found.name):
                self.unknown(target, target.id, found.name)
            if found or before:
                env[target.id] = found or before or UNKNOWN

    def is_declared(self, value: ast.expr) -> bool:
        """True for a call of a function of ours that says which vendor object it returns."""
        return isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] in self.returns

    def store(self, target: ast.Attribute, found: Vendor | None, env: Env, possible: Releases) -> None:
        owner = self.value(target.value, env, possible)
        if owner and owner.kind == "instance":
            self.require(target, owner.name, possible)
            for api in (api for api in self.apis if api.name in possible):
                settable = api.property_of(owner.name, target.attr)
                if api.has(owner.name, target.attr) and not (settable and settable[1]):
                    self.problem(target, f"{owner.name}.{target.attr} cannot be set in {api.name}")
        elif found and found.kind == "instance" and target.attr not in self.fields:
            self.unknown(target, target.attr, found.name)

    # expressions

    def value(self, node: ast.expr, env: Env, possible: Releases) -> Vendor | None:
        """Check an expression and everything in it, and say what it is."""
        match node:
            case ast.Name():
                return env.get(node.id)
            case ast.Attribute():
                return self.attribute(node, env, possible)
            case ast.Call():
                return self.call(node, env, possible)
            case ast.IfExp():
                self.value(node.test, env, possible)
                first = self.value(node.body, env, self.narrow(node.test, True, env, possible))
                second = self.value(node.orelse, env, self.narrow(node.test, False, env, possible))
                return first or second
            case ast.BoolOp():
                return self.boolean(node, env, possible)
            case ast.NamedExpr():
                self.bind(node.target, self.value(node.value, env, possible), env, possible)
                return env.get(node.target.id)
            case ast.Lambda():
                hidden = {argument.arg: UNKNOWN for argument in node.args.args}
                return self.value(node.body, {**env, **hidden}, possible)
        for child in expressions_in(node):
            inner = possible
            if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
                for test in (test for generator in node.generators for test in generator.ifs):
                    inner = self.narrow(test, True, env, inner)
            self.value(child, env, inner)
        return None

    def boolean(self, node: ast.BoolOp, env: Env, possible: Releases) -> Vendor | None:
        found = None
        for value in node.values:
            found = self.value(value, env, possible) or found
            possible = self.narrow(value, isinstance(node.op, ast.And), env, possible)
        return found

    def attribute(self, node: ast.Attribute, env: Env, possible: Releases) -> Vendor | None:
        owner = self.value(node.value, env, possible)
        if owner is None:
            return MODULE if node.attr == "trt" else self.fields.get(node.attr)
        if node.attr.startswith("__"):
            return None
        if owner.kind == "unknown":
            self.unknown(node, ast.unparse(node.value), "<Class>")
            return None
        if owner.kind not in ("module", "class", "instance"):
            self.problem(node, f"'{ast.unparse(node.value)}' is a {owner.kind}, which has no '{node.attr}'")
            return None
        self.require(node, owner.name, possible)
        return self.what_is(owner, node.attr)

    def call(self, node: ast.Call, env: Env, possible: Releases) -> Vendor | None:
        name = ast.unparse(node.func)
        found = self.value(node.func, env, possible)
        for child in expressions_in(node):
            if child is not node.func:
                self.value(child, env, possible)
        if name in ("getattr", "setattr", "hasattr"):
            return self.by_name(node, env, possible)
        if found and found.kind == "class":
            self.arity(node, Vendor("callable", "__init__", found.name), possible)
            return Vendor("instance", found.name)
        if found and found.kind == "callable":
            self.arity(node, found, possible)
            known = [overload for api in self.apis for overload in api.overloads(found.owner, found.name)]
            return instance_of(known[0]["returns"]) if known else None
        return self.returns.get(name.rpartition(".")[2])

    def by_name(self, node: ast.Call, env: Env, possible: Releases) -> Vendor | None:
        """Follow getattr and setattr; a computed name is allowed for the members of an enum class only."""
        owner = self.value(node.args[0], env, possible)
        name = node.args[1]
        if owner is None:
            return None
        if isinstance(name, ast.Constant):
            reached = ast.copy_location(ast.Attribute(node.args[0], str(name.value), ast.Load()), node)
            if ast.unparse(node.func) == "hasattr":
                self.require(reached, owner.name, frozenset())
                return None
            if ast.unparse(node.func) == "getattr" and len(node.args) == 3:
                possible = self.having(owner, str(name.value), possible)
            return self.attribute(reached, env, possible)
        if owner.kind == "class" and self.is_enum(owner.name):
            return Vendor("instance", owner.name)
        self.problem(node, f"'{ast.unparse(node)}' cannot be checked: spell the attribute's name out")
        return None

    # which releases can be at work

    def narrow(self, test: ast.expr, outcome: bool, env: Env, possible: Releases) -> Releases:
        """The releases that remain where `test` came out as `outcome`."""
        match test:
            case ast.UnaryOp(op=ast.Not()):
                return self.narrow(test.operand, not outcome, env, possible)
            case ast.BoolOp() if isinstance(test.op, ast.And) is outcome:
                for part in test.values:
                    possible = self.narrow(part, outcome, env, possible)
            case ast.Call(func=ast.Name(id="hasattr"), args=[target, ast.Constant(value=str(name))]):
                if owner := self.value(target, env, possible):
                    having = self.having(owner, name, possible)
                    return having if outcome else possible - having
        return possible
