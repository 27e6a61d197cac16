"""The layout, read from the source: who may import whom, and what neither side may touch."""

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support import LIMIT, unmeasured

import zgreen

pytestmark = pytest.mark.once


PACKAGE = Path(zgreen.__file__).parent

# Imports point down this list only: a module may import what stands below its own line, and its own line.
LAYERS = [
    {"zgreen.__main__"},
    {"zgreen.cli"},
    {"zgreen.live"},
    {"zgreen.demo", "zgreen.auth", "zgreen.gunicorn", "zgreen.keygen", "zgreen.metrics", "zgreen.sse", "zgreen.status"},
    {"zgreen._recording"},
    {"zgreen.green"},
    {"zgreen"},
    {"zgreen.patterns", "zgreen._drain", "zgreen._per_process"},
    {"zgreen._hub.register", "zgreen._hub.on_signal", "zgreen._hub.seam"},
    {"zgreen._hub.channel"},
    {"zgreen._hub.monitor", "zgreen._hub.received", "zgreen._hub.sent"},
    {"zgreen._hub.many"},
    {"zgreen._hub.pump"},
    {"zgreen._hub.shutdown", "zgreen._hub.lanes"},
    {"zgreen._hub.thread", "zgreen._hub.picture"},
    {
        "zgreen._hub.exchange",
        "zgreen._hub.endpoints",
        "zgreen._hub.subscribers",
        "zgreen._hub.tracer",
        "zgreen._hub.dump",
    },
    {"zgreen._hub.queues"},
    {"zgreen._hub.line", "zgreen._hub.call"},
    {"zgreen._hub.wait"},
    {"zgreen._hub.link"},
    {"zgreen._hub.failures"},
    {"zgreen._hub.reports", "zgreen._hub.life", "zgreen._hub.faces", "zgreen._hub.statistics"},
    {"zgreen._hub"},
    {"zgreen._engine"},
    {"zgreen._draining", "zgreen._metric_names", "zgreen._pages"},
    {"zgreen._arguments", "zgreen._errors", "zgreen._message", "zgreen._sockets", "zgreen._types", "zgreen._version"},
]

# What the hub side may know of the engine: its interface, the leaf that both talk through, and how one is chosen.
KNOWN_TO_THE_HUB = {"zgreen._engine", "zgreen._engine._api", "zgreen._engine._mailbox"}

# monkey.patch_all() may have replaced these, or they write to a stream that it has: not for the owning thread.
PATCHED_MODULES = {"asyncio", "concurrent", "logging", "multiprocessing", "queue", "selectors", "signal", "subprocess",
                   "thread", "_thread", "threading", "warnings"}  # fmt: skip


def names():
    return {
        ".".join(["zgreen", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__"): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


MODULES = names()
TREES = {name: ast.parse(path.read_text(), str(path)) for name, path in MODULES.items()}


def part(*prefixes):
    """The modules of these packages, as (name, tree)."""
    return [(name, tree) for name, tree in TREES.items() if any(f"{name}.".startswith(f"{p}.") for p in prefixes)]


ENGINE = part("zgreen._engine")
HUB = part("zgreen._hub")


def for_typing_only(tree):
    """The nodes under `if TYPE_CHECKING`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for statement in node.body:
                found.update(ast.walk(statement))
    return found


def imports(name, tree):
    """The absolute names of all modules that a module imports when it runs."""
    skipped = for_typing_only(tree)
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full in MODULES else base)
    return found


def own(name, tree):
    """Those of the project, without itself."""
    return {m for m in imports(name, tree) if m.split(".")[0] == "zgreen" and m != name}


GRAPH = {name: own(name, tree) for name, tree in TREES.items()}


def layer(name):
    """How far up a module stands; the longest prefix of its name counts."""
    while True:
        for height, group in enumerate(reversed(LAYERS)):
            if name in group:
                return height
        name = name.rpartition(".")[0]
        assert name, "a module without a layer"


def test_the_test_sees_the_source():
    """It would prove nothing about an empty list."""
    assert {"zgreen", "zgreen._hub.channel", "zgreen._engine._python", "zgreen._engine._signaler"} <= set(MODULES)
    assert "zgreen._hub.pump" in GRAPH["zgreen._hub.channel"]
    assert "zgreen._hub.channel" not in GRAPH["zgreen._hub.pump"], "that one is for TYPE_CHECKING"
    assert "gevent.queue" in imports("zgreen._errors", TREES["zgreen._errors"])
    assert layer("zgreen._engine._python") == layer("zgreen._engine") < layer("zgreen._hub.queues")


def test_imports_point_one_way():
    for name, imports_of_it in GRAPH.items():
        for imported in imports_of_it:
            assert imported in MODULES, f"{name} imports {imported}, which is no module of the project"
            assert layer(imported) <= layer(name), f"{name} imports {imported}, which stands above it"


def test_no_cycle():
    """Not even within a layer. A package and its own modules count as apart: it re-exports them."""
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for imported in sorted(GRAPH[name]):
            visit(imported)
        path.pop()
        done.add(name)

    for name in sorted(GRAPH):
        visit(name)


def test_no_gevent_on_the_thread_side():
    """Neither by an import nor by the import of a module that does."""
    seen, todo = set(), [name for name, _ in ENGINE]
    while todo:
        module = todo.pop()
        seen.add(module)
        for imported in imports(module, TREES[module]):
            assert imported.split(".")[0] != "gevent", f"{module} imports gevent"
        # zgreen/__init__ itself comes first whatever is imported: it is the user's side that imports the engine
        todo += [m for m in GRAPH[module] if m not in seen and m != "zgreen"]


def test_no_gevent_in_what_is_compiled():
    for path in [path for path in PACKAGE.glob("_engine/*") if path.suffix in (".pyx", ".pxi", ".pxd", ".hpp")]:
        lines = path.read_text().splitlines()
        assert [line for line in lines if "import" in line.split() and "gevent" in line] == [], path.name


def test_nothing_patched_in_the_owning_thread():
    for name, tree in ENGINE:
        for imported in imports(name, tree):
            assert imported.split(".")[0] not in PATCHED_MODULES, f"{name} imports {imported}"
        for node in ast.walk(tree):
            where = f"{name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Attribute):
                assert ast.unparse(node) not in ("time.sleep", "os.fork", "sys.stdout", "sys.stderr"), where
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("print", "open", "input", "sleep"), where


def test_the_hub_side_knows_only_the_pipes_interface():
    for name, _ in HUB:
        assert {m for m in GRAPH[name] if m.startswith("zgreen._engine")} <= KNOWN_TO_THE_HUB, name


# What stands outside the core may import nothing of it but these: the public names, and the seam.
CORE = ("zgreen._hub", "zgreen._engine")
PUBLIC_OF_THE_CORE = {name for name in vars(zgreen) if getattr(vars(zgreen)[name], "__module__", "").startswith(CORE)}


def names_from(prefix, name, tree):
    """What a module imports from the modules of a package: as ``module`` or ``module.name``."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = [*parents[: len(parents) - node.level + 1]] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            found = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (one for one in found if f"{one}.".startswith(f"{prefix}."))


def test_what_is_outside_the_core_knows_its_public_face_and_the_seam():
    """The core can be rewritten without a look at the patterns."""
    # zgreen.green is a second face of the lanes, beside Channel, so it stands on the core itself.
    outside = [(name, tree) for name, tree in TREES.items() if not name.startswith((*CORE, "zgreen.green"))]
    assert "zgreen.patterns.server" in dict(outside)
    for name, tree in outside:
        for imported in names_from("zgreen._hub", name, tree):
            public = imported.rpartition(".")[2] in PUBLIC_OF_THE_CORE
            assert public or f"{imported}.".startswith("zgreen._hub.seam."), f"{name} imports {imported}"


OF_NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}  # public, although they begin with an underscore


def test_patterns_use_nothing_internal_of_others():
    """No attribute that begins with an underscore, but their own; nor a pump's link."""
    for name, tree in part("zgreen.patterns", "zgreen.auth", "zgreen.metrics", "zgreen.live"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                where = f"{name}:{node.lineno}: {ast.unparse(node)}"
                on = ast.unparse(node.value)
                internal = (
                    node.attr.startswith("_") and not node.attr.endswith("__") and node.attr not in OF_NAMED_TUPLES
                )
                assert not internal or on in ("self", "cls", "super()"), where
                assert not (node.attr == "link" and on.endswith("pump")), where


# What only a socket has; of what others have too (send, get, set, poll, close), who is asked.
OF_SOCKETS = {"socket", "bind", "unbind", "connect", "disconnect", "recv", "recv_multipart", "recv_string", "recv_json",
              "send_multipart", "send_string", "send_json", "getsockopt", "setsockopt", "monitor", "underlying",
              "get_monitor_socket", "subscribe", "unsubscribe", "shadow", "destroy"}  # fmt: skip
SENT_TO = {"self.link.mailbox", "self", "self._pump", "mailbox", "self._mailbox", "self._link.mailbox", "link.mailbox",
           "self._lanes", "thread", "self.thread", "self.thread.link.mailbox"}  # fmt: skip

# The two that look at a socket that the user hands over, before the owning thread has it.
LOOK_AT_A_SOCKET = {("zgreen._hub.register", "register_socket"), ("zgreen._hub.register", "_check_socket")}


def functions(tree):
    """(function's name, its nodes without those of functions within) of a module; what is in no function is ''."""

    def walk(node, name):
        for child in ast.iter_child_nodes(node):
            inside = child.name if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else name
            yield inside, child
            yield from walk(child, inside)

    yield from walk(tree, "")


def annotations(tree):
    found = set()
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            value = getattr(node, field, None)
            if value is not None:
                found.update(ast.walk(value))
    return found


def test_no_socket_call_on_the_hub_side():
    """The sockets are the owning thread's: the hub side makes none and calls none."""
    for name, tree in HUB:
        allowed = annotations(tree)
        for function, node in functions(tree):
            looks = (name, function) in LOOK_AT_A_SOCKET
            where = f"{name}:{getattr(node, 'lineno', 0)}: {ast.unparse(node):.60}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                on, method = ast.unparse(node.func.value), node.func.attr
                of_gevent = (on, method) == ("hub", "destroy")
                commands = on.endswith(".endpoints")
                assert method not in OF_SOCKETS or commands or of_gevent, where
                assert method != "send" or on in SENT_TO, where
                assert looks or not on.endswith("socket"), where
                assert on != "zmq" or method == "ZMQError" or (name, method) == ("zgreen._hub.pump", "Context"), where
            if isinstance(node, ast.Attribute) and node.attr in ("Socket", "backend") and node not in allowed:
                assert looks or (name, function) == ("zgreen._hub.register", ""), where


def test_every_module_says_what_it_owns():
    for name, tree in TREES.items():
        doc = ast.get_docstring(tree)
        assert doc, f"{name} has no docstring"
        assert len(doc) > 30, f"{name}: {doc}"


def test_init_modules_hold_no_logic():
    for name, path in MODULES.items():
        if path.name == "__init__.py":
            for node in TREES[name].body[1:]:
                assert isinstance(node, (ast.Import, ast.ImportFrom)), f"{name}:{node.lineno}"


def test_public_names():
    """What a user may rely on, and nothing by accident."""
    submodules = {"auth", "cli", "demo", "green", "gunicorn", "keygen", "live", "metrics", "patterns", "sse", "status"}
    assert {name for name in vars(zgreen) if not name.startswith("_")} - submodules == {
        "BrokenError", "Channel", "ChannelStatistics", "ClosedError", "Event", "Fanout", "FanoutStatistics",
        "ForkedError", "Monitor", "MonitorEvent", "Proxy", "ProxyStatistics", "PubHandler", "Pump", "PumpStatistics",
        "Requester", "RequesterStatistics", "Server", "ServerStatistics", "Subscription", "TopicStatistics",
        "ZgreenError", "drain", "drain_on_signal", "dump_on_signal", "get_pump", "per_process", "register_socket",
        "select", "serve",
    }  # fmt: skip


@pytest.mark.timeout(3 * LIMIT)
def test_every_module_can_be_imported_alone(tmp_path):
    """In an interpreter in which every warning is an error: no module needs another one of ours to come first."""
    code = """
        import contextlib, importlib, os, sys

        sys.dont_write_bytecode, sys.pycache_prefix = False, sys.argv[3]  # each of ours is compiled once
        others, ours = (names.split() for names in sys.argv[1:3])
        for name in others:  # once, as they take most of the time
            with contextlib.suppress(ImportError, AttributeError):
                importlib.import_module(name)
        import zgreen  # before any of them, as Python itself imports a package before what is in it

        failed = []
        for name in set(ours) - set(sys.modules):
            child = os.fork()
            if not child:
                importlib.import_module(name)  # a traceback gives exit status 1
                sys.exit()
            if os.waitpid(child, 0)[1]:
                failed.append(name)
        print(failed)
    """
    others = {target for name in TREES for target in imports(name, TREES[name]) if not target.startswith("zgreen")}
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), " ".join(others), " ".join(MODULES)]
    command.append(str(tmp_path))
    process = subprocess.run(command, env=unmeasured(), capture_output=True, text=True, timeout=2 * LIMIT)
    assert (process.returncode, process.stdout, process.stderr) == (0, "[]\n", "")
