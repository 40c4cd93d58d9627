# SPDX-License-Identifier: MIT
"""TwisterLab reference application: ticket API, orchestrator and monitoring services."""

__version__ = "2.1.0"
