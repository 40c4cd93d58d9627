# SPDX-License-Identifier: GPL-3.0-or-later
"""Backup, drill and restore of a TwisterLab: Postgres, Redis, Grafana, release records and Secrets."""

__version__ = "1.0.0"
