#!/usr/bin/python
"""Keep a host's private key and its certificate, signed by the environment's authority."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_certificate
short_description: Keep a host's key and its certificate, signed on the controller
version_added: "0.1.0"
author: The platform's engineers (@gym)
description:
  - The key (ECDSA P-256) is made on the host and never leaves it. The request for a certificate is signed on the
    controller, and the CA's private key never leaves that. A host at rest costs one module call.
  - Leaves C(<name>.pem) (certificate), C(<name>.pem.key) (key, mode 0640) and C(ca.pem) in O(directory).
  - A new certificate is made when one is missing, does not belong to the key, is not of this CA, is for other names or
    addresses, or expires within O(renew_before_days). The key is kept as long as it is usable.
requirements:
  - python3-cryptography on the host, cryptography on the controller
options:
  directory:
    description: Where the files are.
    type: path
    default: /etc/ssl/gym
  name:
    description: Name of the files, without their ending.
    type: str
    default: host
  names:
    description: DNS names, the host's own first.
    type: list
    elements: str
    required: true
  addresses:
    description: IP addresses.
    type: list
    elements: str
    default: []
  ca_certificate:
    description: The authority's certificate, PEM.
    type: str
    required: true
  ca_private_key:
    description: The authority's private key, PEM, ECDSA or RSA. Needed only to sign; never sent to a host.
    type: str
  valid_days:
    description: How long a new certificate is valid, at most until the CA's own end.
    type: int
    default: 397
  renew_before_days:
    description: How long before its end a certificate is replaced.
    type: int
    default: 30
  group:
    description: Group that may read the key.
    type: str
    default: ssl-cert
  units:
    description:
      - Units that use the files. A new certificate is theirs by a reload, by a restart where they cannot be reloaded; a
        new authority always takes a restart. Leaves the same markers as M(gym.platform.config_files).
    type: list
    elements: str
    default: []
  certificate:
    description: What the action plugin sends to the host when it has signed. Not for playbooks.
    type: str
  pending_directory:
    description: Where the markers are left.
    type: path
    default: /run/gym-platform
attributes:
  check_mode:
    support: full
    description: Says why a new certificate would be made. Makes neither a key nor a certificate.
  diff_mode:
    support: full
    description: Issuer, expiry, names and addresses; never the key.
"""

EXAMPLES = r"""
- name: Make the machine's key and have its certificate signed
  gym.platform.host_certificate:
    names: ["{{ inventory_hostname }}", "{{ inventory_hostname }}.gym.internal", localhost]
    addresses: ["{{ ansible_host }}", 127.0.0.1]
    ca_certificate: "{{ base_host_ca_certificate }}"
    ca_private_key: "{{ base_host_ca_private_key }}"
    units: [haproxy.service]
"""

RETURN = r"""
reasons:
  description: Why something was changed, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: [name api.gym.localhost is missing]
expires:
  description: When the certificate in place ends (UTC); empty in check mode when there is none yet.
  returned: always
  type: str
  sample: "2027-01-02T03:04:05+00:00"
restart:
  description: The units that have to be restarted because the authority is another one.
  returned: always
  type: list
  elements: str
  sample: []
reload:
  description: The units that have to be reloaded because of anything else.
  returned: always
  type: list
  elements: str
  sample: [haproxy.service]
"""

import datetime
import grp
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.gym.platform.plugins.module_utils import host_certificates as certificates
from ansible_collections.gym.platform.plugins.module_utils.host_certificates import ARGUMENTS, CertificateError, Wanted
from ansible_collections.gym.platform.plugins.module_utils.pending import Pending, is_unit_name


def read(path: Path) -> bytes:
    """Read a file; one that is not there is empty."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def write(path: Path, content: bytes, mode: int, gid: int) -> None:
    """Replace a file by a complete one in one step."""
    new = path.with_name(f".gym-new.{path.name}")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fchown(handle, os.geteuid(), gid)
        os.fchmod(handle, mode)
        os.fsync(handle)
    new.replace(path)


class Host:
    """The three files of one host, against what they have to be."""

    def __init__(self, params: dict[str, Any], wanted: Wanted, check_mode: bool) -> None:
        """Read everything; change nothing."""
        self.wanted = wanted
        self.directory = Path(params["directory"])
        self.certificate_path = self.directory / f"{params['name']}.pem"
        self.key_path = self.directory / f"{params['name']}.pem.key"
        self.authority_path = self.directory / "ca.pem"
        self.authority_pem = params["ca_certificate"].strip().encode() + b"\n"
        self.authority = certificates.load_certificate(self.authority_pem, "`ca_certificate`")
        self.gid = self._gid(params["group"], check_mode)
        self.key: Any = None
        with suppress(CertificateError):
            self.key = certificates.load_key(read(self.key_path), "The host's key")
        self.certificate: Any = None
        with suppress(CertificateError):
            self.certificate = certificates.load_certificate(read(self.certificate_path), "The host's certificate")

    def needs_certificate(self, now: datetime.datetime) -> list[str]:
        """Say why a new certificate has to be signed."""
        certificates.check_authority(self.authority, self.wanted, now)
        if self.key is None or not certificates.is_usable_key(self.key):
            return ["there is no usable key"]
        if self.certificate is None:
            return ["there is no usable certificate"]
        return certificates.problems(self.wanted, self.key, self.certificate, self.authority, now)

    def has_other_authority(self) -> bool:
        """Tell whether whom the host trusts changes, which programs learn only when they start."""
        return bool(read(self.authority_path) != self.authority_pem)

    def needs_repair(self) -> list[str]:
        """Say what is wrong besides the certificate itself."""
        found = ["ca.pem is not the CA's certificate"] if self.has_other_authority() else []
        for path, mode, gid in self._permissions():
            with suppress(FileNotFoundError):
                now = path.stat()
                if (now.st_mode & 0o7777, now.st_uid, now.st_gid) != (mode, os.geteuid(), gid):
                    found.append(f"{path} has the wrong owner, group or mode")
        return found

    def request(self) -> str:
        """Ask for a certificate, with a new key where there is no usable one."""
        self._make_directory()
        if self.key is None or not certificates.is_usable_key(self.key):
            self.key, pem = certificates.make_key()
            write(self.key_path, pem, 0o640, self.gid)
        return certificates.make_request(self.key, self.wanted)

    def install(self, certificate_pem: str, now: datetime.datetime) -> None:
        """Put a signed certificate in place, after looking at it as a client would."""
        new = certificates.load_certificate(certificate_pem, "The signed certificate")
        if self.key is None:
            raise CertificateError(f"The key {self.key_path} vanished while its certificate was signed: run again.")
        if wrong := certificates.problems(self.wanted, self.key, new, self.authority, now):
            raise CertificateError(f"The signed certificate is not as it has to be: {'; '.join(wrong)}.")
        self.repair()
        write(self.certificate_path, certificate_pem.encode(), 0o644, 0)
        self.certificate = new

    def repair(self) -> None:
        """Put everything besides the certificate right."""
        self._make_directory()
        if self.has_other_authority():
            write(self.authority_path, self.authority_pem, 0o644, 0)
        for path, mode, gid in self._permissions():
            with suppress(FileNotFoundError):
                os.chown(path, os.geteuid(), gid)
                path.chmod(mode)

    def _permissions(self) -> list[tuple[Path, int, int]]:
        public = [(self.certificate_path, 0o644, 0), (self.authority_path, 0o644, 0), (self.directory, 0o755, 0)]
        return [(self.key_path, 0o640, self.gid), *public]

    def _make_directory(self) -> None:
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)

    @staticmethod
    def _gid(name: str, check_mode: bool) -> int:
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            if check_mode:
                return -1
            raise CertificateError(
                f"The group '{name}', which is to read the key, does not exist: install the package of that name "
                f"(Debian's ssl-cert), or give another `group`."
            ) from None


def run(module: AnsibleModule, wanted: Wanted) -> dict[str, Any]:
    """Look at the host; repair what needs no signature, ask for one, or install what was signed."""
    now = datetime.datetime.now(datetime.UTC)
    units = module.params["units"]
    host = Host(module.params, wanted, module.check_mode)
    before = certificates.describe(host.certificate)
    reasons = host.needs_certificate(now)
    signed, result = module.params["certificate"], dict[str, Any]()
    after = certificates.describe_wanted(wanted, host.authority, now) if reasons else before
    reasons += host.needs_repair()
    restart, reload = (units, []) if host.has_other_authority() else ([], units if reasons else [])
    if reasons and not module.check_mode:
        Pending(module.params["pending_directory"]).mark(restart=restart, reload=reload)
        if signed:
            host.install(signed, now)
        elif host.needs_certificate(now):
            result["request"] = host.request()
        else:
            host.repair()
    if module._diff and reasons:
        header = str(host.certificate_path)
        result["diff"] = {"before_header": header, "after_header": header, "before": before, "after": after}
    return {
        **result,
        "changed": bool(reasons),
        "reasons": reasons,
        "expires": certificates.expiry(host.certificate).isoformat() if host.certificate else "",
        "restart": list(restart),
        "reload": list(reload),
    }


def main() -> None:
    """Read, compare, apply, report."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if module.params["ca_private_key"]:
        module.fail_json(msg="The CA's private key may not come to a host: call this module through its action plugin.")
    if not certificates.HAS_CRYPTOGRAPHY:
        if module.check_mode:
            reasons = ["python3-cryptography is not installed yet, so that nothing could be looked at"]
            module.exit_json(changed=True, reasons=reasons, expires="", restart=module.params["units"], reload=[])
        module.fail_json(msg=f"{missing_required_lib('cryptography')} Debian's package is python3-cryptography.")
    try:
        for unit in module.params["units"]:
            if not is_unit_name(unit):
                raise CertificateError(f"'{unit}' in `units` is not the full name of a unit, as in 'haproxy.service'.")
        wanted = certificates.parse_wanted(
            module.params["names"],
            module.params["addresses"],
            module.params["valid_days"],
            module.params["renew_before_days"],
        )
        result = run(module, wanted)
    except CertificateError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or 'A file'} could not be written or read: {error.strerror}.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
