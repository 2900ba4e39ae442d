"""The public names are what they say, whatever was imported before them, and wait for PyTorch only where they must."""

import inspect
import subprocess
import sys

import tscam

MODULES = {"backbones", "datasets", "formats", "methods", "metrics"}


def run(script: str) -> str:
    """Output of a script in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.strip()


def test_every_public_name_is_listed_and_loads() -> None:
    assert dir(tscam) == sorted(tscam.__all__)
    for name in tscam.__all__:
        public = getattr(tscam, name)
        assert inspect.ismodule(public) == (name in MODULES), name
        assert inspect.ismodule(public) or public.__name__ == name, name


def test_no_module_replaces_a_function_of_its_name() -> None:
    script = f"""if True:
        import inspect, pkgutil, importlib, tscam
        for module in pkgutil.walk_packages(tscam.__path__, "tscam."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        print(sorted({{name for name in tscam.__all__ if inspect.ismodule(getattr(tscam, name))}} ^ {MODULES!r}))
    """
    assert run(script) == "[]"


def test_what_comes_after_the_map_waits_for_no_pytorch() -> None:
    names = (
        "Localizer, Localization, load, localize, draw, write_annotations, read_annotations, EvaluateConfig, evaluate"
    )
    assert run(f"import sys; from tscam import {names}; print('torch' in sys.modules)") == "False"
