"""What a tag of an image stands for at this moment, asked of its registry over HTTP as every registry answers it."""

from __future__ import annotations

import httpx2
from ansible_collections.gym.platform.plugins.module_utils.release_driver import DriverError

# Of one platform, and of several. Without them a registry answers with a manifest made up for old clients.
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
# As every client of registries does: no certificate is needed to ask this machine.
LOOPBACK = ("127.0.0.1", "localhost")


def image_digest(client: httpx2.Client, repository: str, mark: str, login: tuple[str, str]) -> str:
    """Return the digest of a tag, or of a digest that is thus known to be there. Raises DriverError when it is not.

    `login` is a name and a password; both are empty for a registry that anybody may read.
    """
    host, _, path = repository.partition("/")
    scheme = "http" if host.partition(":")[0] in LOOPBACK else "https"
    separator = "@" if mark.startswith("sha256:") else ":"
    image = f"{repository}{separator}{mark}"
    try:
        answer = client.head(
            f"{scheme}://{host}/v2/{path}/manifests/{mark}",
            headers={"Accept": ", ".join(MANIFESTS)},
            auth=login if login[0] else httpx2.USE_CLIENT_DEFAULT,
        )
    except httpx2.HTTPError as error:
        raise DriverError(f"the registry does not answer when asked for image {image}: {error}") from error
    if answer.status_code != 200:
        raise DriverError(
            f"the registry does not give image {image} (status {answer.status_code}): push it, or release another tag"
        )
    return str(answer.headers["Docker-Content-Digest"])
