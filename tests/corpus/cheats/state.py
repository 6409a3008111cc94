"""State and sealed files: what the gate remembers, what it is made of, and what the next run would trip over."""

from __future__ import annotations

from tests.corpus.cheats.cheat import CORRECTNESS, Cheat, wrong

_TRY = """
def write(path, text, mode="w"):
    def act():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, mode) as file:
            file.write(text)
    attempt(act)

"""


def _writes(name: str, attacks: str, text: str, *, whole: bool = False) -> Cheat:
    """whole: a whole trial, with a row at its end."""
    return wrong(name, attacks, _TRY + text.strip("\n"), arguments=() if whole else CORRECTNESS)


CHEATS = (
    _writes(
        "adds_a_row",
        "appends a row of its own to the ledger",
        'write("@PROJECT@/results.tsv", "abc\\tnow\\tkeep\\tpass\\t1\\n", "a")',
        whole=True,
    ),
    _writes(
        "rewrites_the_ledger",
        "turns every verdict of the ledger into a keep",
        """
def act():
    with open("@PROJECT@/results.tsv", "r+") as file:
        text = file.read().replace("baseline", "discard")
        file.seek(0)
        file.write(text)
attempt(act)
""",
    ),
    _writes(
        "replaces_the_ledger",
        "puts an empty ledger in place of the one there is",
        """
write("@PROJECT@/other.tsv", "")
attempt(lambda: os.replace("@PROJECT@/other.tsv", "@PROJECT@/results.tsv"))
""",
    ),
    _writes(
        "rewrites_the_incumbent",
        "stores itself as the incumbent, checksum and all",
        """
def act():
    json, hashlib = module("json"), module("hashlib")
    path = "@PROJECT@/.lance_ar/incumbent.json"
    with open(path) as file:
        state = json.load(file)
    source = state["incumbent"]["source"] + "# slower\\n"
    state["incumbent"].update(source=source, sha256=hashlib.sha256(source.encode()).hexdigest())
    del state["checksum"]
    state["checksum"] = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
    with open(path, "w") as file:
        json.dump(state, file)
attempt(act)
""",
        whole=True,
    ),
    _writes(
        "removes_the_state",
        "removes the incumbent, so that the next kernel becomes the baseline",
        'attempt(lambda: module("shutil").rmtree("@PROJECT@/.lance_ar"))',
    ),
    _writes(
        "plants_an_example",
        "stores an example that no later kernel can pass",
        """
spec = '{"codebook":[[[3e38]]],"codes":[[0]],"queries":[[-3e38],[-3e38]],"k":1}'
for directory in ("examples", "examples/pq_l2"):
    write(f"@PROJECT@/.lance_ar/{directory}/planted", spec)
    write(f"@PROJECT@/.lance_ar/{directory}/planted.txt", spec)
""",
    ),
    _writes(
        "removes_the_lock",
        "removes the lock, so that two gates may run at once",
        'attempt(lambda: os.unlink("@PROJECT@/.lance_ar/lock"))',
    ),
    _writes(
        "rewrites_the_kernel_file",
        "shows a harmless kernel to whoever reads the file later",
        'write("@PROJECT@/kernel/pq_l2.py", "# nothing to see\\n")',
    ),
    _writes(
        "rewrites_the_copy_it_was_loaded_from",
        "rewrites the file that it was loaded from",
        'write(__file__, "class PqKernel: pass\\n")',
    ),
    _writes(
        "rewrites_the_package",
        "edits the rule that decides",
        """
path = "@SITE@/pytest_lance_ar/trial/verdict.py"
write(path, "\\ndef decide(trial, evidence):\\n    return Verdict('keep', ExitCode.KEPT)\\n", "a")
""",
    ),
    _writes(
        "plants_compiled_code",
        "puts compiled code in place of a source that stays as it is",
        """
import_util = module("importlib.util")
def act():
    code = compile("def decide(*_): raise SystemExit(0)", "verdict.py", "exec")
    # An unchecked hash-based pyc: Python never looks at the source.
    data = import_util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + module("marshal").dumps(code)
    for path in ("trial/verdict", "seal/fingerprints", "plugin/__init__"):
        target = import_util.cache_from_source(f"@SITE@/pytest_lance_ar/{path}.py")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            file.write(data)
attempt(act)
""",
    ),
    _writes(
        "plants_a_conftest",
        "plants a conftest.py for the next run",
        """
text = "import os\\ndef pytest_lance_ar_decide(): os._exit(0)\\n"
for place in ("@PROJECT@/conftest.py", "@PROJECT@/kernel/conftest.py", "@PROJECT@/tests/conftest.py"):
    write(place, text)
""",
    ),
    _writes(
        "rewrites_the_configuration",
        "has pytest load a plugin of its own in the next run",
        'write("@PROJECT@/pytest.ini", "[pytest]\\naddopts = -p planted\\n")',
    ),
    _writes(
        "shadows_a_module",
        "plants modules under the names of those that the gate imports",
        """
for name in ("numpy", "numba", "hypothesis", "pytest", "planted", "xdist"):
    write(f"@PROJECT@/{name}.py", "import os\\nos._exit(0)\\n")
""",
    ),
    _writes(
        "plants_a_start_file",
        "plants what Python runs whenever it starts",
        """
write("@SITE@/sitecustomize.py", "import os\\nos.environ['FOUND'] = '1'\\n")
write("@SITE@/usercustomize.py", "import os\\n")
write("@SITE@/planted.pth", "import os\\n")
write("@OUTSIDE@/.config/numba/numba_config.yaml", "opt: 0\\n")
write("@PROJECT@/.numba_config.yaml", "opt: 0\\n")
""",
    ),
    _writes(
        "plants_in_the_next_homes",
        "plants start files in every temporary home it can find, its rivals' among them",
        """
for home in module("glob").glob("@TMP@/*"):
    if home != os.getcwd():
        for name in ("usercustomize.py", "planted.pth"):
            version = "python%d.%d" % sys.version_info[:2]
            write(f"{home}/.local/lib/{version}/site-packages/{name}", "import os; os.write(2, b'planted')\\n")
""",
    ),
    _writes(
        "moves_the_branch",
        "points git's HEAD elsewhere and plants a hook",
        """
write("@PROJECT@/.git/HEAD", "ref: refs/heads/other\\n")
write("@PROJECT@/.git/hooks/post-commit", "#!/bin/sh\\n")
write("@PROJECT@/.git/config", "[core]\\n\\tfsmonitor = true\\n", "a")
""",
    ),
    _writes(
        "writes_outside",
        "overwrites a file that has nothing to do with the experiment",
        """
write("@OUTSIDE@/canary", "dead")
write("@OUTSIDE@/new", "here")
attempt(lambda: os.symlink("@OUTSIDE@/canary", "@PROJECT@/link"))
attempt(lambda: os.chmod("@OUTSIDE@/canary", 0o777))
attempt(lambda: os.rename("@OUTSIDE@/canary", "@OUTSIDE@/gone"))
attempt(lambda: os.utime("@OUTSIDE@/canary", (1, 1)))
attempt(lambda: os.chmod("@PROJECT@/results.tsv", 0))
attempt(lambda: os.chmod("@PROJECT@/.lance_ar", 0))
""",
    ),
    _writes(
        "links_out_of_its_directory",
        "leaves links in its own directory, should whoever removes that follow them",
        """
attempt(lambda: os.symlink("@OUTSIDE@", "away"))
attempt(lambda: os.symlink("@PROJECT@", "kernel/away"))
attempt(lambda: os.mkdir("locked", 0o000))
attempt(lambda: os.chmod(".", 0o500))
""",
    ),
)
