"""A namespace of a Kubernetes cluster through its API; what goes wrong there becomes a sentence here alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2
from ansible_collections.gym.platform.plugins.module_utils.release_driver import DriverError
from lightkube import ApiError, Client, KubeConfig
from lightkube.core.exceptions import ConfigError
from lightkube.core.resource import NamespacedResource
from lightkube.types import CascadeType

# Whose fields the objects' are: what others have set in them stays theirs.
FIELD_MANAGER = "gym-platform-release"
NOT_FOUND, CONFLICT = 404, 409

# An object of any kind. The models let almost every field be away, which those of an answer are not.
Object = Any


class Cluster:
    """One namespace, as the person or pipeline that releases may see and change it."""

    def __init__(
        self, namespace: str, kubeconfig: str = "", context: str = "", transport: httpx2.BaseTransport | None = None
    ) -> None:
        """Read the configuration; the cluster is not asked yet. Raises DriverError when there is none.

        Without a file it is what kubectl would use: KUBECONFIG, or ~/.kube/config.
        """
        try:
            files = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_env()
            config = files.get(context or None)
        except (ConfigError, OSError, ValueError) as error:
            raise DriverError(
                f"the kubeconfig does not say where the cluster is: {error}. `aws eks update-kubeconfig` and `gcloud"
                " container clusters get-credentials` write one"
            ) from error
        if config is None:
            raise DriverError(f"the kubeconfig has no current context; name one of {', '.join(files.contexts)}")
        self.namespace = namespace
        self._server = config.cluster.server
        self._client = Client(config, namespace=namespace, field_manager=FIELD_MANAGER, transport=transport)

    def get(self, kind: type[NamespacedResource], name: str) -> Object | None:
        """Return an object, None when there is none."""
        with self._sentences(f"{kind.__name__} {name}"):
            return _unless(NOT_FOUND, lambda: self._client.get(kind, name))

    def find(self, kind: type[NamespacedResource], labels: Mapping[str, str]) -> list[Object]:
        """Return the objects of a kind that have these labels, by name."""
        with self._sentences(f"the list of {kind.__name__}s"):
            found: list[Object] = list(self._client.list(kind, labels=dict(labels)))
        return sorted(found, key=lambda item: str(item.metadata.name))

    def apply(self, *objects: Object) -> None:
        """Create or change objects in their order, on the server's side: fields that are not ours stay as they are."""
        for item in objects:
            with self._sentences(f"{item.kind} {item.metadata.name}"):
                self._client.apply(item, force=True)

    def create(self, item: Object) -> Object | None:
        """Create an object, and return it as it is now; None when it is there already."""
        with self._sentences(f"{item.kind} {item.metadata.name}"):
            return _unless(CONFLICT, lambda: self._client.create(item))

    def replace(self, item: Object) -> Object | None:
        """Replace an object if it still has the resourceVersion that is given; None when it has not, or is gone."""
        with self._sentences(f"{item.kind} {item.metadata.name}"):
            return _unless(NOT_FOUND, lambda: _unless(CONFLICT, lambda: self._client.replace(item)))

    def delete(self, kind: type[NamespacedResource], name: str) -> None:
        """Delete an object and all that belongs to it; one that is gone is fine. Returns before its pods have ended."""
        with self._sentences(f"{kind.__name__} {name}"):
            _unless(NOT_FOUND, lambda: self._client.delete(kind, name, cascade=CascadeType.BACKGROUND))

    def log(self, pod: str, lines: int) -> str:
        """Return the last lines that a pod wrote, on both of its streams."""
        with self._sentences(f"the log of {pod}"):
            return "".join(self._client.log(pod, tail_lines=lines)).strip()

    @contextmanager
    def _sentences(self, what: str) -> Iterator[None]:
        try:
            yield
        except ApiError as error:
            raise DriverError(f"the cluster refuses {what} in {self.namespace}: {error.status.message}") from error
        except httpx2.HTTPError as error:
            raise DriverError(f"the Kubernetes API at {self._server} does not answer ({error}) to {what}") from error
        except ConfigError as error:
            raise DriverError(f"the cluster at {self._server} lets nobody in: {error}") from error


def _unless(status: int, call: Callable[[], Any]) -> Any:
    """Return what the call does, None when the API answers with that status."""
    try:
        return call()
    except ApiError as error:
        if error.status.code != status:
            raise
        return None
