"""Hold one use of TensorRT against the recorded interfaces, and write down what does not fit."""

import ast
from dataclasses import dataclass, field

from vendor_api import Api, call_fits, describe
from vendor_source import Vendor, instance_of

Releases = frozenset[str]  # the names of the records that can be at work at some place


@dataclass
class Ledger:
    """What a file uses. `problems` holds one line each; `seen` what was checked, such as "Builder.reset"."""

    apis: list[Api]
    problems: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def all_releases(self) -> Releases:
        return frozenset(api.name for api in self.apis)

    def having(self, owner: Vendor, name: str, possible: Releases) -> Releases:
        return frozenset(api.name for api in self.apis if api.name in possible and api.has(owner.name, name))

    def what_is(self, owner: Vendor, name: str) -> Vendor | None:
        for api in self.apis:
            if owner.kind == "module" and api.has_class(name):
                return Vendor("class", name)
            if owner.kind == "class" and api.has_class(f"{owner.name}.{name}"):
                return Vendor("class", f"{owner.name}.{name}")
            if owner.kind == "class" and name in api.members(owner.name):
                return Vendor("instance", owner.name)
            if found := api.property_of(owner.name, name):
                return instance_of(found[0])
            if api.overloads(owner.name, name):
                return Vendor("callable", name, owner.name)
        return None

    def require(self, node: ast.Attribute, owner: str, possible: Releases) -> None:
        """The name must be in a record, and in those of all releases that can be at work here."""
        label = f"{owner}.{node.attr}".lstrip(".")
        self.seen.add(label)
        having = [api.name for api in self.apis if api.has(owner, node.attr)]
        lacking = sorted(possible.difference(having))
        if not having:
            self.problem(node, f"{label} is in none of {', '.join(sorted(self.all_releases()))}")
        elif lacking:
            self.problem(node, f"{label} is not in {', '.join(lacking)}: put it under hasattr")

    def arity(self, node: ast.Call, target: Vendor, possible: Releases) -> None:
        label = f"{target.owner}.{target.name}".lstrip(".")
        self.seen.add(f"{label}()")
        starred = [item for item in node.args if isinstance(item, ast.Starred)]
        if starred or any(item.arg is None for item in node.keywords):
            self.problem(node, f"{label} is called with * or **: spell the arguments out")
            return
        for api in (api for api in self.apis if api.name in possible):
            overloads = api.overloads(target.owner, target.name)
            exists = bool(overloads) or (target.name == "__init__" and api.has_class(target.owner))
            if exists and not call_fits(node, overloads):
                known = describe(overloads) or "nothing: it is not made by calling the class"
                found = ast.unparse(node)
                self.problem(node, f"{found} does not fit {label} of {api.name}, which takes {known}")

    def is_enum(self, name: str) -> bool:
        return any(api.members(name) and api.property_of(name, "value") for api in self.apis)

    def unknown(self, node: ast.AST, name: str, owner: str) -> None:
        self.problem(node, f"unknown vendor object '{name}': annotate it as tensorrt.{owner}")

    def problem(self, node: ast.AST, text: str) -> None:
        line = f"line {getattr(node, 'lineno', 0)}: {text}"
        if line not in self.problems:
            self.problems.append(line)
