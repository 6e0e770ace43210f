"""The reference workload of the gym platform: check-ins, kiosks and notifications for many gyms."""


class RefusedError(Exception):
    """A command cannot be run; the message is one sentence that says why and what to do."""
