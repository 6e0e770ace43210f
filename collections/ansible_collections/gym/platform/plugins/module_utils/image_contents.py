"""What is in an image, read off the image itself, and the CycloneDX bill of materials that says so. Pure.

The bill is a function of the image alone: the same image gives the same bytes, whenever and wherever it is asked.
"""

from __future__ import annotations

import re
import tarfile
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.parser import HeaderParser
from typing import IO

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

DPKG_STATUS = "var/lib/dpkg/status"
OS_RELEASE = "usr/lib/os-release"
_PYTHON_METADATA = re.compile(r".*\.dist-info/METADATA$")
# Licences of Debian packages are prose, in the image's own /usr/share/doc; those of Python packages are SPDX or a word.
_LONGEST_LICENCE = 100


@dataclass(frozen=True, order=True)
class Package:
    """One package: `kind` is a purl type, deb or pypi."""

    kind: str
    name: str
    version: str
    architecture: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Contents:
    """The packages in an image, sorted, and the codename of its Debian."""

    packages: tuple[Package, ...]
    codename: str


def contents(archive: IO[bytes]) -> Contents:
    """Read an image's file system, as one stream of a tar archive, once."""
    packages: set[Package] = set()
    codename = ""
    with tarfile.open(fileobj=archive, mode="r|") as files:
        for entry in files:
            name = entry.name.removeprefix("./")
            wanted = name in (DPKG_STATUS, OS_RELEASE) or _PYTHON_METADATA.match(name)
            stream = files.extractfile(entry) if wanted else None
            if stream is None:
                continue
            text = stream.read().decode("utf-8", errors="replace")
            if name == DPKG_STATUS:
                packages.update(_debian(text))
            elif name == OS_RELEASE:
                found = re.search(r"^VERSION_CODENAME=(\S+)$", text, re.MULTILINE)
                codename = found[1] if found else ""
            else:
                packages.add(_python(text))
    return Contents(tuple(sorted(packages)), codename)


def bill_of_materials(name: str, version: str, image_id: str, created: datetime, of: Contents) -> str:
    """Return the bill of materials of an image as CycloneDX JSON; `image_id` is `sha256:` and 64 hexadecimal digits."""
    digest = HashType(alg=HashAlgorithm.SHA_256, content=image_id.removeprefix("sha256:"))
    image = Component(name=name, version=version, type=ComponentType.CONTAINER, bom_ref=image_id, hashes=[digest])
    packages = list(_components(of))
    bill = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, image_id),
        metadata=BomMetaData(component=image, timestamp=created),
        components=packages,
    )
    bill.register_dependency(image, packages)
    return JsonV1Dot6(bill).output_as_string(indent=2) + "\n"


def _components(of: Contents) -> Iterator[Component]:
    licences = LicenseFactory()
    for package in of.packages:
        debian = package.kind == "deb"
        qualifiers = {"arch": package.architecture, "distro": of.codename} if debian else {}
        purl = PackageURL(
            package.kind,
            "debian" if debian else None,
            package.name,
            package.version,
            dict(filter(all, qualifiers.items())),
        )
        yield Component(
            name=package.name,
            version=package.version,
            purl=purl,
            bom_ref=str(purl),
            licenses=[licences.make_from_string(package.licence)] if package.licence else [],
        )


def _debian(status: str) -> Iterable[Package]:
    for paragraph in status.split("\n\n"):
        fields = HeaderParser().parsestr(paragraph)
        if fields.get("Status", "").endswith(" installed"):
            yield Package("deb", fields["Package"], fields["Version"], fields["Architecture"])


def _python(metadata: str) -> Package:
    fields = HeaderParser().parsestr(metadata)
    licence = str(fields.get("License-Expression") or fields.get("License") or "").strip()
    # Some packages put their licence's whole text there.
    licence = licence if len(licence) <= _LONGEST_LICENCE and "\n" not in licence else ""
    # The name as the index has it, https://packaging.python.org/en/latest/specifications/name-normalization/
    name = re.sub(r"[-_.]+", "-", str(fields["Name"])).lower()
    return Package("pypi", name, str(fields["Version"]), licence=licence)
