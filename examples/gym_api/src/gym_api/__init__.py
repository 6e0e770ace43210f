"""The reference workload of the gym platform: check-ins, kiosks and notifications for many gyms."""
