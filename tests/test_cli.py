"""What every command does alike: what it says of a wrong command line, its help, its version, and what it loads."""

import json
import os
import pty
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from y12 import cli
from y12.exporter.cli import choices
from y12.exporter.config_parts import DEFAULT_NMS_CANDIDATES
from y12.exporter.data.splits import SPLITS
from y12.exporter.export_config import FORMATS
from y12.exporter.precision.quantization_options import METHODS, TARGETS
from y12.exporter.train.losses.terms.classes import CLASS_LOSSES
from y12.exporter.train.losses.terms.iou import IOU_KINDS
from y12.exporter.train.options import PRECISIONS
from y12.runtime.artefact.manifest import TASKS
from y12.runtime.artefact.nms_settings import MAX_NMS_CANDIDATES, OWN_NMS_FORMS
from y12.runtime.cli.app import command_line, run
from y12.runtime.cli.infer import Keep
from y12.runtime.cli.options import Task
from y12.runtime.thresholds import KEEPS

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
MAINS = {name: import_module(where.split(":")[0]).main for name, where in SCRIPTS.items()}


def refused(capsys, command, *arguments):
    """Run; give the one line that a wrong command line comes to."""
    assert MAINS[command](list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err.removeprefix("error: ").rstrip("\n")


def python(code, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_script_is_one_of_the_commands_that_y12_lists():
    listed = {f"y12-{name}": f"{module}:main" for name, (module, _) in cli.COMMANDS.items()}
    assert listed | {"y12": "y12.cli:main"} == SCRIPTS


WRONG = [
    ("y12-export", ["--frmat", "onnx"], "expected an option of y12-export, found '--frmat'; did you mean --format?"),
    ("y12-infer", ["m.onnx", "a.jpg", "--saev", "d"], "found '--saev'; did you mean --save?"),
    ("y12-tune", ["shapes", "--zzzzz"], "found '--zzzzz'; y12-tune --help lists them"),
    # The beginning of an option's name is not the option, even where there is one such option only.
    (
        "y12-export",
        ["--workspac", "1"],
        "expected an option of y12-export, found '--workspac'; did you mean --workspace?",
    ),
    ("y12-export", ["--allow-inc"], "expected an option of y12-export, found '--allow-inc'; did you mean "),
    (
        "y12-export",
        ["--format", "engin"],
        "--format: expected onnx, engine (or tensorrt, trt), found 'engin'; did you mean engine?",
    ),
    ("y12-export", ["--format", "ENGINE"], "found 'ENGINE'; did you mean engine?"),
    ("y12-export", ["--format", "tensort"], "did you mean tensorrt?"),
    ("y12-export", ["--calib-method", "qqq"], "--calib-method: expected auto, mse, l3, percentile, max, found 'qqq'"),
    (
        "y12-infer",
        ["m.onnx", "a.jpg", "--provider", "cdua"],
        "--provider: expected auto, cpu, cuda, found 'cdua'; did you mean cuda?",
    ),
    (
        "y12-tune",
        ["shapes", "--iou-loss", "diuo"],
        "--iou-loss: expected iou, giou, diou, ciou, found 'diuo'; did you mean diou?",
    ),
    ("y12-tune", ["shapes", "--epochs", "ten"], "--epochs: expected a whole number, found 'ten'"),
    ("y12-val", ["m", "d", "--conf-thres", "high"], "--conf: expected a number, found 'high'"),
    ("y12-export", ["m", "--classes", "cat"], "--classes: expected class ids such as 0,2,5, found 'cat'"),
    ("y12-bench", ["m", "--imgsz", "1,2,3"], "--imgsz: expected 640, or 480,640 as height,width, found '1,2,3'"),
    ("y12-bench", ["m", "--imgsz", "0"], "--imgsz: expected 640, or 480,640 as height,width, found '0'"),
    (
        "y12-export",
        ["--imgsz", "9" * 5000],
        "--imgsz: expected something like 640, 480,640 or 320:640:960, found '9999",
    ),
    ("y12-export", ["--val"], "--val: expected a value, found none; y12-export --help explains it"),
    ("y12-export", ["--json=yes"], "--json: expected no value, found one; y12-export --help explains it"),
    ("y12-export", ["--images", "--imgsz", "64"], "--images: expected a value, found the option --imgsz"),
    ("y12-infer", [], "expected ARTEFACT, found none; y12-infer --help explains it"),
    ("y12-val", ["m.onnx"], "expected DATA, found none; y12-val --help explains it"),
    ("y12-inspect", ["a.onnx", "b.onnx"], "expected [OPTIONS] ARTEFACT, found 'b.onnx' too"),
    ("y12", ["exprt"], "expected a command of y12, found 'exprt'; did you mean export?"),
    ("y12", ["qqqqqq"], "expected a command of y12, found 'qqqqqq'; y12 alone lists them"),
    ("y12-bundle", ["trton"], "expected a command of y12-bundle, found 'trton'; did you mean triton?"),
    ("y12-bundle", ["qqqqqq"], "expected a command of y12-bundle, found 'qqqqqq'; y12-bundle alone lists them"),
    ("y12-bundle", ["triton", "m", "--ouptut", "x"], "an option of y12-bundle triton, found '--ouptut'; did you mean "),
    ("y12", ["bundle", "triton"], "expected ARTEFACT, found none; y12 bundle triton --help explains it"),
    ("y12", ["--verson"], "expected an option of y12, found '--verson'; did you mean --version?"),
    ("y12", ["export", "--frmat"], "expected an option of y12 export, found '--frmat'; did you mean --format?"),
]


@pytest.mark.parametrize(("command", "arguments", "message"), WRONG)
def test_a_wrong_command_line_is_one_line_with_what_was_meant(command, arguments, message, capsys):
    line = refused(capsys, command, *arguments)
    assert message in line
    assert len(line) < 300


@pytest.mark.parametrize("columns", ["20", "300"])
def test_no_message_depends_on_the_terminal_s_width(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    message = "--format: expected onnx, engine (or tensorrt, trt), found 'engin'; did you mean engine?"
    assert refused(capsys, "y12-export", "--format", "engin") == message


def test_a_word_after_two_dashes_is_no_option(capsys):
    assert MAINS["y12-inspect"](["--", "--json"]) == 1
    assert capsys.readouterr().err.startswith("error: --json: expected ")


@pytest.mark.parametrize("nothing", [[], ["--"]])
def test_y12_alone_lists_the_commands(nothing, capsys):
    assert cli.main(nothing) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines[lines.index("Commands:") + 1 :]]
    assert listed == list(cli.COMMANDS)
    assert all(any(line.split(None, 1) == [name, words] for line in lines) for name, (_, words) in cli.COMMANDS.items())


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_y12_command_is_the_command(name, capsys):
    assert cli.main([name, "--help"]) == 0
    by_y12 = capsys.readouterr().out
    assert MAINS[f"y12-{name}"](["--help"]) == 0
    alone = capsys.readouterr().out
    assert by_y12 != alone
    assert by_y12.replace(f"y12 {name}", f"y12-{name}") == alone


def test_y12_command_does_what_the_command_does(tmp_path, capsys):
    missing = str(tmp_path / "none.onnx")
    both = [
        (main(words), capsys.readouterr())
        for main, words in ((cli.main, ["inspect", missing]), (MAINS["y12-inspect"], [missing]))
    ]
    assert both[0] == both[1]
    assert both[0][0] == 1
    assert cli.main(["export", "--half", "--int8"]) == 1
    assert "choose one of --half and --int8" in capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(SCRIPTS))
def test_help_has_a_short_name(command, capsys):
    assert MAINS[command](["-h"]) == 0
    short = capsys.readouterr()
    assert MAINS[command](["--help"]) == 0
    assert short == capsys.readouterr()


def test_a_command_knows_how_it_was_called_while_it_runs():
    """As it would be typed: quoted for a shell, by the name it was called by."""
    heard = []

    @click.command(context_settings={"ignore_unknown_options": True})
    @click.argument("words", nargs=-1)
    def listener(words):
        heard.append(command_line())
        return 0

    for name in ("y12-export", "y12"):
        assert run(listener, name, ["export", "my model.pt", "--conf=$x"]) == 0
    assert heard == [f"{name} export 'my model.pt' '--conf=$x'" for name in ("y12-export", "y12")]
    assert command_line() == ""


def test_a_wrong_command_line_needs_no_standard_output():
    done = subprocess.run(
        ["bash", "-c", '"$0" -m y12.cli export --frmat >&-', sys.executable],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("command", sorted(SCRIPTS))
def test_version(command, capsys):
    assert MAINS[command](["--version"]) == 0
    assert capsys.readouterr() == (f"y12 {version('y12')}\n", "")


@pytest.mark.parametrize("command", sorted(SCRIPTS))
def test_a_shell_can_be_taught_to_complete(command):
    """The script is for the shell that asks, which is found by the process that called."""
    script = Path(sys.executable).parent / command
    done = subprocess.run(
        ["bash", "-c", f"'{script}' --show-completion; exit $?"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"complete -o default -F _{command.replace('-', '_')}_completion {command}" in done.stdout


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("y12-export --form", ["--format"]),
        ("y12-export --format t", ["tensorrt", "trt"]),
        ("y12 in", ["infer", "inspect"]),
        ("y12-export --images --imgsz --calib-m", ["--calib-method"]),
        ("y12 export --calib-m", ["--calib-method"]),
    ],
)
def test_it_completes_options_choices_and_commands(words, found):
    program = words.split()[0]
    module = SCRIPTS[program].split(":")[0]
    variables = {
        f"_{program.replace('-', '_').upper()}_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    assert python(f"from {module} import main; main([])", **variables).split() == found


@pytest.mark.parametrize("columns", ["80", "200"])
@pytest.mark.parametrize("command", sorted(SCRIPTS))
def test_help_is_plain_and_fits_where_no_terminal_reads_it(command, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    assert MAINS[command](["--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 80
    assert out.isascii()
    assert "\x1b" not in out


def on_a_terminal(code, **environment):
    """What a program writes to a terminal of 80 columns."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=follower, env={**os.environ, "COLUMNS": "80", **environment}
    )
    os.close(follower)
    written = b""
    try:
        while part := os.read(leader, 4096):
            written += part
    except OSError:  # how Linux tells that the other end is closed
        pass
    os.close(leader)
    assert process.wait() == 0
    return written.decode()


HELP = "import sys; from y12.exporter.cli.export import main; sys.exit(main(['--help']))"


def test_help_is_drawn_on_a_terminal_and_says_the_same(capsys):
    drawn = on_a_terminal(HELP, TERM="xterm", NO_COLOR="")
    assert "\x1b[" in drawn
    for heading in ("INT8", "NMS", "Verification", "Engine"):
        assert f" {heading}" in drawn
    assert MAINS["y12-export"](["--help"]) == 0
    bare = "".join(part.partition("m")[2] for part in ("m" + drawn).split("\x1b["))  # without colours
    words = [word for word in capsys.readouterr().out.split() if word.startswith("--")]
    assert [word for word in words if word.strip(",;:).") not in bare] == []


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}])
def test_help_is_plain_on_a_terminal_that_asks_for_it(variables, capsys):
    assert MAINS["y12-export"](["--help"]) == 0
    plain = capsys.readouterr().out
    assert on_a_terminal(HELP, **({"NO_COLOR": ""} | variables)).replace("\r\n", "\n") == plain


LOADED = """
import json, sys
{code}
print(json.dumps(sorted(sys.modules)))
"""


def test_help_of_one_command_imports_no_other_and_the_list_imports_none():
    modules = {module for module, _ in cli.COMMANDS.values()}
    loaded = json.loads(python(LOADED.format(code="from y12.cli import main; main([])")).splitlines()[-1])
    assert modules & set(loaded) == set()
    one = json.loads(python(LOADED.format(code="from y12.cli import main; main(['bench', '--help'])")).splitlines()[-1])
    assert modules & set(one) == {"y12.runtime.cli.bench"}


def test_the_runtime_loads_no_typer():
    loaded = json.loads(python(LOADED.format(code="from y12 import Runtime")).splitlines()[-1])
    assert "y12.runtime.session" in loaded
    assert {"typer", "click", "rich"} & set(loaded) == set()


FIRST_WORDS = """
import builtins, sys
importing = builtins.__import__
def tell(name, *arguments, **more):
    if name == "torch":
        sys.exit("torch is imported")
    return importing(name, *arguments, **more)
builtins.__import__ = tell
from y12.exporter.cli.export import main
main([])
"""


def test_an_export_says_something_before_it_waits_for_torch():
    done = subprocess.run([sys.executable, "-c", FIRST_WORDS], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stderr.splitlines() == ["start …", "torch is imported"]


SAME = {
    Task: TASKS,
    Keep: KEEPS,
    choices.Format: FORMATS,
    choices.Method: METHODS,
    choices.Target: TARGETS,
    choices.NmsForm: OWN_NMS_FORMS,
    choices.Split: SPLITS,
    choices.IouLoss: IOU_KINDS,
    choices.ClassLoss: CLASS_LOSSES,
    choices.TrainPrecision: PRECISIONS,
}


@pytest.mark.parametrize("kind", SAME, ids=lambda kind: kind.__name__)
def test_choices_are_those_of_the_rooms_that_take_them(kind):
    assert list(kind) == list(SAME[kind])


def test_help_names_the_right_numbers_of_candidates(capsys):
    assert MAINS["y12-export"](["--help"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert f"at most {MAX_NMS_CANDIDATES} (default: {DEFAULT_NMS_CANDIDATES})" in words
