"""An import contract of our own: a package may import itself and the standard library, nothing else.

import-linter can forbid named packages; the engine (docs/design.md) promises more than a list of names can say, so that
a dependency added next year is refused as well.
"""

import sys
from typing import cast

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class StandardLibraryOnlyContract(Contract):
    """Keeps every module of `package` from importing anything but the package itself and the standard library."""

    package = fields.StringField()

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Collect each import that leaves the package for something other than the standard library."""
        package = cast(str, self.package)
        if package not in graph.modules:
            raise ValueError(f"Module '{package}' does not exist.")
        strays = [
            (importer, imported)
            for importer in sorted({package, *graph.find_descendants(package)})
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if not _belongs(imported, package)
        ]
        return ContractCheck(kept=not strays, metadata={"strays": strays})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Name each stray import, a line each."""
        for importer, imported in cast(list[tuple[str, str]], check.metadata["strays"]):
            output.print_error(f"{importer} imports {imported}, which is not in the standard library")


def _belongs(imported: str, package: str) -> bool:
    inside = imported == package or imported.startswith(f"{package}.")
    return inside or imported.partition(".")[0] in sys.stdlib_module_names
