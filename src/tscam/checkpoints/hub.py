"""The Hugging Face hub: the two files of a model come down, the three of a model folder go up. Runs nothing of them."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tscam.errors import ConfigError, OutputError, WeightsError, one_line

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

PREFIX = "hf-hub:"

_REPO = r"\w[\w.-]*/\w[\w.-]*"
_REVISION = r"\w(?:[\w-]|[./](?=[\w-]))*"  # no `..`: it names a file in the cache
_TIMEOUT = 10.0  # seconds until the cache has to do


def is_on_hub(name: str) -> bool:
    """True for the name of a model on the hub, False for a path."""
    return name.startswith(PREFIX)


def fetch(name: str) -> Path:
    """The folder of the hub's cache with `config.json` and `model.safetensors` of a model, both of one commit.

    Nothing else of the repository is fetched. What the cache holds is not fetched again, and is taken as it is where
    the hub cannot be reached or `HF_HUB_OFFLINE` is set.

    Args:
        name: `hf-hub:user/name`, or `hf-hub:user/name@revision` with a branch, a tag or a commit.

    Raises:
        WeightsError: another syntax; no such repository or revision; a gated one; not a model of this package; the hub
            cannot be reached and the cache does not hold it.
    """
    from huggingface_hub import hf_hub_download  # here: it takes a third of a second that a local model need not wait

    named = re.fullmatch(f"{PREFIX}({_REPO})(?:@({_REVISION}))?", name, re.ASCII)
    if named is None:
        raise WeightsError(f"{name}: not the name of a model on the hub; expected {PREFIX}user/name or with @revision")
    repo, revision = named[1], named[2] or "main"
    with _fetching(name):
        is_cached_only = not _is_reachable(repo, revision)
        config = Path(hf_hub_download(repo, "config.json", revision=revision, local_files_only=is_cached_only))
        _require_ours(config, name)
        hf_hub_download(repo, "model.safetensors", revision=config.parent.name, local_files_only=is_cached_only)
    return config.parent


def upload(files: Mapping[str, Path | bytes], *, repo: str, private: bool) -> str:
    """Puts files into a repository of models in one commit, and makes it where there is none; returns its address.

    Args:
        files: by their names there; a path, or the content.
        repo: `user/name`.
        private: only for whom its owner lets in.

    Raises:
        ConfigError: `repo` is no such name.
        OutputError: no login, no right to write there, no connection, or a public repository in place of a private one.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    if re.fullmatch(_REPO, repo, re.ASCII) is None:
        raise ConfigError(f"repository {repo!r}; expected user/name, of letters, digits, `-`, `_` and `.`")
    api = HfApi()
    with _uploading(repo):
        # None leaves it to what an organization has set.
        address = str(api.create_repo(repo, private=private or None, exist_ok=True))
        if private and not api.model_info(repo).private:
            raise OutputError(f"{repo}: is a public repository; make it private on the hub, or leave out --private")
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=held) for name, held in files.items()]
        api.create_commit(repo, operations=operations, commit_message="Upload a model of tscam")
    return address


def _is_reachable(repo: str, revision: str) -> bool:
    """Does the hub answer? Asked once, since a download would try for half a minute.

    Raises:
        HfHubHTTPError: it answers that there is no such model for us.
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
    """Refuses the config of another package's model, before its weights are fetched."""
    try:
        is_ours = isinstance(json.loads(config.read_text(encoding="utf-8"))["tscam"], dict)
    except (LookupError, TypeError, ValueError, RecursionError):
        is_ours = False
    if not is_ours:
        raise WeightsError(f"{name}: not a model of tscam, its config.json has no section `tscam`")


@contextmanager
def _fetching(name: str) -> Iterator[None]:
    """Turns what the hub's client raises into a line."""
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
            f"{name}: the hub cannot be reached, and the cache does not hold it; connect (or unset HF_HUB_OFFLINE), or "
            "give a folder"
        ) from fault
    except HfHubHTTPError as fault:
        hint = "; log in with `hf auth login`" if fault.response.status_code in (401, 403) else ""
        raise WeightsError(f"{name}: the hub refuses ({_status(fault)}){hint}") from fault
    except (_http_error(), OSError, ValueError, RuntimeError) as fault:
        raise WeightsError(f"{name}: cannot be fetched ({one_line(fault)})") from fault


@contextmanager
def _uploading(repo: str) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        yield
    except HfHubHTTPError as fault:
        # To whom may not write there, the hub says that there is nothing.
        is_unknown = isinstance(fault, RepositoryNotFoundError) or fault.response.status_code in (401, 403)
        hint = "; log in with `hf auth login`, with a token that may write there" if is_unknown else ""
        raise OutputError(f"{repo}: the hub refuses ({_status(fault)}){hint}") from fault
    except (_http_error(), OSError, ValueError, RuntimeError) as fault:
        raise OutputError(f"{repo}: cannot be uploaded ({one_line(fault)}); what was there stays") from fault


def _status(fault: "HfHubHTTPError") -> str:
    """What the hub answered: the number, and its own words where it has any."""
    words = fault.server_message or fault.response.reason_phrase
    return " ".join(f"{fault.response.status_code} {words}".split())


def _http_error() -> type[Exception]:
    """The base of all errors of the client's HTTP library, which changes with the client's major versions."""
    from huggingface_hub import errors

    return errors.HTTPError  # type: ignore[attr-defined]
