# SPDX-License-Identifier: MIT
"""Check lists for people who resolve tickets; plain advice, nothing here claims to have done anything."""

from __future__ import annotations

from .models import Category

GUIDES: dict[Category, tuple[str, ...]] = {
    Category.NETWORK: (
        "Ask whether one person or several are concerned.",
        "Check link, address and default route of the machine.",
        "Resolve a name, then reach its address: this separates DNS from routing.",
        "Try without VPN or proxy.",
    ),
    Category.HARDWARE: (
        "Note model and serial number.",
        "Check power, cables and indicator lights.",
        "Try the part on another machine.",
        "Order a replacement when the fault follows the part.",
    ),
    Category.SOFTWARE: (
        "Note program, version and the exact error message.",
        "Ask what changed last: update, configuration, data.",
        "Reproduce it with a new profile.",
        "Go back to the last version that worked, or install the fixed one.",
    ),
    Category.ACCOUNT: (
        "Verify the person's identity by a second way.",
        "Check whether the account is locked, expired or without the needed right.",
        "Unlock or reset it, and require a new password at the next login.",
        "Look for failed logins from unknown places.",
    ),
    Category.EMAIL: (
        "Check whether sending, receiving or both fail.",
        "Check the mailbox's quota and the service's state.",
        "Read the bounce message, or trace the message by its identifier.",
        "Try the web client: this separates the program from the mailbox.",
    ),
    Category.UNCLASSIFIED: ("Ask what was expected, what happened and since when.", "Put the ticket in its category."),
}
