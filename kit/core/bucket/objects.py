"""Objects of an object store, by fsspec: s3://, gs:// and whatever else it knows. Knows nothing of what they hold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from kit.core.extras import missing_package
from kit.core.secrets import without_secrets
from kit.errors import KitError, MissingPackage, UsageError

_OF_ONE_MACHINE = ("file", "local", "memory", "data", "cached", "dir", "zip", "tar")
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}


def checked_bucket(url: str, called: str = "--bucket") -> str:
    """Return the address of a bucket, without slashes at its end.

    Args:
        called: what messages call it.

    Raises:
        UsageError: it is none, or one that other machines cannot reach.
        MissingPackage: what reads such addresses is not installed.
    """
    protocol, found, path = url.strip().partition("://")
    if not found or not path.strip("/"):
        raise UsageError(f"{called} {url}: an address is needed, such as s3://my-bucket/work or gs://my-bucket/work.")
    if protocol in _OF_ONE_MACHINE:
        raise UsageError(
            f"{called} {url}: that is a place of one machine. A folder that all machines share needs no bucket: have "
            "the workspace there, kit -w FOLDER."
        )
    if urlsplit(url.strip()).password:
        raise UsageError(f"{called} {without_secrets(url)}: keep the password where the bucket's client looks for it.")
    _class_of(protocol, url, called)
    return f"{protocol}://{path.rstrip('/')}"


def _class_of(protocol: str, url: str, called: str) -> Any:
    import fsspec

    try:
        return fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        if protocol in _PACKAGES:
            raise missing_package(_PACKAGES[protocol]) from None
        raise MissingPackage(f"{called} {url}: {' '.join(str(error).split())}") from None
    except ValueError:
        raise UsageError(
            f"{called} {without_secrets(url)}: fsspec knows no {protocol}:// addresses. Known ones: s3, gs, abfs."
        ) from None


class Bucket:
    """A folder of an object store."""

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        with self._errors():
            self._fs, self._root = fsspec.url_to_fs(url, skip_instance_cache=True, use_listings_cache=False)
        self._root = self._root.rstrip("/")

    def read(self, name: str) -> bytes | None:
        """Return an object; None where it is not there."""
        with self._errors():
            try:
                return bytes(self._fs.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

    def write(self, name: str, data: bytes) -> None:
        """Write an object, whole or not at all."""
        with self._errors():
            self._fs.pipe_file(self._path(name), data)

    def has(self, name: str) -> bool:
        """Return whether an object is there."""
        with self._errors():
            return bool(self._fs.exists(self._path(name)))

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects, those that are there."""
        with self._errors():
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    self._fs.rm_file(self._path(name))

    def names(self, folder: str) -> list[str]:
        """Return the names of all objects below a folder, in order."""
        with self._errors():
            try:
                found = self._fs.find(self._path(folder))
            except FileNotFoundError:
                return []
        return sorted(str(path)[len(self._root) :].lstrip("/") for path in found)

    def check(self) -> None:
        """Raise `KitError` where nothing can be written, before anything long begins."""
        self.write("inputs/README", b"What jobs of kit read. It may be deleted when no job runs.\n")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn whatever a client raises into one line: each has errors of its own, some not even `OSError`."""
        try:
            yield
        except KitError:
            raise
        except FileNotFoundError as error:
            reason = f"{self._shown} is not there: {_one_line(error)}"
            raise KitError(f"{reason}. Make the bucket, or check its name.") from None
        except Exception as error:
            raise KitError(
                f"{self._shown} cannot be used: {_one_line(error)}. Check the address, the network and what the "
                "environment says of keys, then run the same command again."
            ) from None

    @property
    def _shown(self) -> str:
        return without_secrets(self.url)


def _one_line(error: Exception) -> str:
    return without_secrets(" ".join(str(error).split())[:200].rstrip(". ") or type(error).__name__)
