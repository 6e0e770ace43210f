"""Import the collection in tests the way Ansible imports it, so that its filters and lookups are found by name.

Ansible's finder has to be there before the first `import ansible_collections`, so before any test is read.
"""

from __future__ import annotations

import os
from pathlib import Path

# Read when ansible is imported; a test may be started from any directory.
os.environ["ANSIBLE_CONFIG"] = str(Path(__file__).parent / "ansible.cfg")

from ansible.plugins.loader import init_plugin_loader

init_plugin_loader([])
