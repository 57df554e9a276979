"""The layering is a wall: which module may import which is read from the sources, not from good intentions."""

import ast
from pathlib import Path

import pytest

import i2i

ROOT = Path(i2i.__file__).parent

# Lower ranks first; modules of one rank do not import each other.
RANKS = [
    {"errors"},
    {"contracts", "files"},
    {"plugins", "datasets", "stored"},
    {"build", "quiet", "probe", "install", "scaffold", "launch"},
    {"recipe", "describe", "doctor"},
    {"images", "data", "shifts", "nn", "products", "graph", "memory", "recompute", "confusion", "backbones"},
    {"ranks"},
    {"sharding"},
    {"augment", "engine", "checkpoint", "cache"},
    {"compose", "watch"},
    {"tiles", "manifest"},
    {"evaluate", "translate", "report", "chart", "testing", "foreign"},
    {"audit", "profile"},
    {"train", "score", "folder"},
    {"ablate", "check", "display", "study"},
    {"cli"},
    {"__init__", "__main__"},
]
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names}
BUILT_INS = {
    "generators", "discriminators", "losses", "adversarial", "tasks", "methods", "sources", "metrics", "trackers",
}  # fmt: skip
FOR_BUILT_INS = {"contracts", "errors", "nn", "images", "confusion", "backbones"} | BUILT_INS
FILES = sorted(path for path in ROOT.rglob("*.py") if path.parent.name != "templates")  # which are other packages'
LIGHT = [
    "errors", "contracts", "files", "plugins", "datasets", "build", "recipe", "cli", "display", "__init__",
    "quiet", "probe", "install", "scaffold", "describe", "doctor", "launch",
]  # fmt: skip


def imports(path: Path, *, top_level: bool = False) -> set[str]:
    """Return the modules that a file imports, `from i2i import x` as `i2i.x`; those for type checkers left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            stack.extend(node.orelse)
            continue
        if top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = {f"i2i.{alias.name}" for alias in node.names} if node.module == "i2i" else {str(node.module)}
            found |= names
        stack.extend(ast.iter_child_nodes(node))
    return found


def layer(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_arrow_points_up(path: Path) -> None:
    here = layer(path)
    for module in imports(path):
        if not module.startswith("i2i."):
            continue
        there = module.split(".")[1]
        if here in BUILT_INS:
            assert there in FOR_BUILT_INS, f"the built-in {path.name} imports {module}"
        else:
            assert here in RANK, f"{here} has no rank: add it to RANKS and to docs/architecture.md"
            assert there not in BUILT_INS, f"core module {here} names the built-in {module}"
            if there in RANK and there != here:  # a layer may be a folder
                assert RANK[there] < RANK[here], f"{here} imports {module}, which is not below it"


@pytest.mark.parametrize("name", LIGHT)
def test_light_layers_load_no_torch(name: str) -> None:
    heavy = {"torch", "numpy", "kornia", "albumentations", "timm", "cv2", "PIL", "safetensors"}
    files = [path for path in FILES if layer(path) == name]
    assert files
    for path in files:
        assert not {module.split(".")[0] for module in imports(path, top_level=True)} & heavy


def test_one_module_knows_entrypoints() -> None:
    assert [layer(path) for path in FILES if "entrypoints" in imports(path)] == ["plugins"]


def test_only_images_opens_pictures() -> None:
    def opens(path: Path) -> bool:
        text = path.read_text(encoding="utf-8")
        return any(call in text for call in ("Image.open(", "cv2.imread(", "cv2.imdecode(", "torchvision.io"))

    assert {layer(path) for path in FILES if opens(path)} == {"images"}
