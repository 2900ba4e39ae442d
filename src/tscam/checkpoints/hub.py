"""The Hugging Face hub: fetches the two files of a model, uploads the three of a model folder. Runs nothing in them."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tscam.errors import ConfigError, OutputError, WeightsError, one_line, quoted
from tscam.system.documents import read_json

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

PREFIX = "hf-hub:"

_REPO = r"\w[\w.-]*/\w[\w.-]*"
_REVISION = r"\w(?:[\w-]|[./](?=[\w-]))*"  # no `..`: it names a file in the cache
_TIMEOUT = 10.0  # seconds; then the cache is used


def is_on_hub(name: str) -> bool:
    """True for the name of a model on the hub, False for a path."""
    return name.startswith(PREFIX)


def fetch(name: str) -> Path:
    """Fetch `config.json` and `model.safetensors` of a model, both of one commit; return their folder in the cache.

    Nothing else of the repository is fetched. Cached files are not fetched again, and they are used as they are where
    the hub cannot be reached or `HF_HUB_OFFLINE` is set.

    Args:
        name: `hf-hub:user/name`, or `hf-hub:user/name@revision` with a branch, a tag or a commit.

    Raises:
        WeightsError: another syntax; no such repository or revision; a gated one; not a model of this package; or the
            hub cannot be reached and the model is not cached.
    """
    from huggingface_hub import hf_hub_download  # here: it takes a third of a second that a local model need not wait

    match = re.fullmatch(f"{PREFIX}({_REPO})(?:@({_REVISION}))?", name, re.ASCII)
    if match is None:
        raise WeightsError(f"{name}: not the name of a model on the hub; expected {PREFIX}user/name or with @revision")
    repo, revision = match[1], match[2] or "main"
    with _fetch_errors(name):
        from_cache = not _is_reachable(repo, revision)
        config = Path(hf_hub_download(repo, "config.json", revision=revision, local_files_only=from_cache))
        _require_ours(config, name)
        hf_hub_download(repo, "model.safetensors", revision=config.parent.name, local_files_only=from_cache)
    return config.parent


def upload(files: Mapping[str, Path | bytes], *, repo: str, private: bool) -> str:
    """Put files into a repository of models in one commit, creating the repository if need be; return its address.

    Args:
        files: path or content of each file, by its name in the repository.
        repo: `user/name`.
        private: make the repository private.

    Raises:
        ConfigError: `repo` is not such a name.
        OutputError: no login, no right to write there, no connection, or a public repository in place of a private one.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    if re.fullmatch(_REPO, repo, re.ASCII) is None:
        raise ConfigError(f"repository {quoted(repo)}; expected user/name, of letters, digits, `-`, `_` and `.`")
    api = HfApi()
    with _upload_errors(repo):
        # None leaves the choice to the organization's settings.
        address = str(api.create_repo(repo, private=private or None, exist_ok=True))
        if private and not api.model_info(repo).private:
            raise OutputError(f"{repo}: a public repository; make it private on the hub, or leave out --private")
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=file) for name, file in files.items()]
        api.create_commit(repo, operations=operations, commit_message="Upload a model of tscam")
    return address


def _is_reachable(repo: str, revision: str) -> bool:
    """True if the hub answers. Asked once: a download would retry for half a minute.

    Raises:
        HfHubHTTPError: the hub answers that there is no such model for this user.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().model_info(repo, revision=revision, timeout=_TIMEOUT)
    except HfHubHTTPError as fault:
        if fault.response.status_code < 500:
            raise
        return False
    except _http_error():
        return False
    except ConnectionError:  # HF_HUB_OFFLINE
        return False
    return True


def _require_ours(config: Path, name: str) -> None:
    """Refuse a model of another package by its config, before its weights are fetched."""
    try:
        content = read_json(config)
        is_model = isinstance(content, dict) and isinstance(content.get("tscam"), dict)
    except ValueError:
        is_model = False
    if not is_model:
        raise WeightsError(f"{name}: not a model of tscam, its config.json has no section `tscam`")


@contextmanager
def _fetch_errors(name: str) -> Iterator[None]:
    """Raise the errors of the hub's client as one line."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repo, _, revision = name.removeprefix(PREFIX).partition("@")
    try:
        yield
    except GatedRepoError as fault:
        raise WeightsError(
            f"{name}: a gated repository; ask for access on its page, then log in with `hf auth login`"
        ) from fault
    except RepositoryNotFoundError as fault:
        raise WeightsError(
            f"{name}: no repository {repo!r} on the hub, or a private one; check the name, or log in with "
            "`hf auth login`"
        ) from fault
    except RevisionNotFoundError as fault:
        raise WeightsError(f"{name}: the repository has no branch, tag or commit {revision!r}") from fault
    except RemoteEntryNotFoundError as fault:
        raise WeightsError(
            f"{name}: not a model of tscam, the repository lacks config.json or model.safetensors"
        ) from fault
    except LocalEntryNotFoundError as fault:
        raise WeightsError(
            f"{name}: the hub cannot be reached, and the model is not cached; connect (or unset HF_HUB_OFFLINE), or "
            "give a folder"
        ) from fault
    except HfHubHTTPError as fault:
        hint = "; log in with `hf auth login`" if fault.response.status_code in (401, 403) else ""
        raise WeightsError(f"{name}: the hub refuses ({_status(fault)}){hint}") from fault
    except (_http_error(), OSError, ValueError, RuntimeError) as fault:
        raise WeightsError(f"{name}: cannot be fetched ({one_line(fault)})") from fault


@contextmanager
def _upload_errors(repo: str) -> Iterator[None]:
    """Raise the errors of the hub's client as one line."""
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        yield
    except HfHubHTTPError as fault:
        # The hub answers "not found" to a user who may not write there.
        is_unknown = isinstance(fault, RepositoryNotFoundError) or fault.response.status_code in (401, 403)
        hint = "; log in with `hf auth login`, with a token that may write there" if is_unknown else ""
        raise OutputError(f"{repo}: the hub refuses ({_status(fault)}){hint}") from fault
    except (_http_error(), OSError, ValueError, RuntimeError) as fault:
        raise OutputError(f"{repo}: cannot be uploaded ({one_line(fault)}); the repository is unchanged") from fault


def _status(fault: "HfHubHTTPError") -> str:
    """Return the hub's answer: the status code, and its message if it sent one."""
    message = fault.server_message or fault.response.reason_phrase
    return " ".join(f"{fault.response.status_code} {message}".split())


def _http_error() -> type[Exception]:
    """Return the base class of the errors of the client's HTTP library, which differs between its major versions."""
    from huggingface_hub import errors

    return errors.HTTPError  # type: ignore[attr-defined]
