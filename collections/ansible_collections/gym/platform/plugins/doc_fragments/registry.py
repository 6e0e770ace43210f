"""What is said once of every module that gives something to the registry of images."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of module_utils/service_image.REGISTRY."""

    DOCUMENTATION = r"""
options:
  registry:
    description: The registry's C(host:port) as this machine reaches it, or C(host/path). It gets nothing when empty.
    type: str
    default: ""
  registry_username:
    description: The user who may push.
    type: str
    default: ""
  registry_password:
    description: The user's password.
    type: str
    default: ""
  registry_certificate_authority:
    description: The certificate of the authority that the registry's certificate comes from, in PEM.
    type: str
    default: ""
"""
