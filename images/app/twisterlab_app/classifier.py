# SPDX-License-Identifier: MIT
"""A rule-based ticket classifier: the same text always gets the same answer, and the answer says why."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from .models import Category, Priority


@dataclass(frozen=True)
class Rule:
    """Words and phrases (plain ASCII, lower case) that speak for a category; a trailing ``*`` matches word endings."""

    name: str
    category: Category
    words: tuple[str, ...]


@dataclass(frozen=True)
class Classification:
    """The answer: ``rule`` is None when nothing matched; ``matched`` lists the words that decided."""

    category: Category
    rule: str | None
    matched: tuple[str, ...]
    priority: Priority
    priority_matched: tuple[str, ...]


# Order breaks ties: the more specific rule stands first.
RULES = (
    Rule(
        "account-password",
        Category.ACCOUNT,
        ("password*", "mot de passe", "locked out", "verrouille*", "mfa", "2fa", "reset my"),
    ),
    Rule(
        "account-access",
        Category.ACCOUNT,
        ("account*", "compte*", "login", "log in", "sign in", "permission*", "access denied", "droits", "acces refuse"),
    ),
    Rule(
        "email-mailbox",
        Category.EMAIL,
        ("email*", "e-mail*", "mail*", "courriel*", "outlook", "inbox", "smtp", "imap", "spam", "boite de reception"),
    ),
    Rule("network-vpn", Category.NETWORK, ("vpn", "tunnel")),
    Rule("network-wireless", Category.NETWORK, ("wifi", "wi-fi", "wireless", "sans fil")),
    Rule(
        "network-connectivity",
        Category.NETWORK,
        (
            "network*",
            "reseau*",
            "internet",
            "dns",
            "dhcp",
            "ethernet",
            "ping",
            "router*",
            "routeur*",
            "firewall",
            "connexion",
            "no connection",
        ),
    ),
    Rule(
        "hardware-printing",
        Category.HARDWARE,
        ("printer*", "imprimante*", "toner", "scanner*", "paper jam", "bourrage"),
    ),
    Rule(
        "hardware-device",
        Category.HARDWARE,
        (
            "laptop*",
            "screen*",
            "ecran*",
            "keyboard*",
            "clavier*",
            "mouse",
            "souris",
            "battery",
            "batterie",
            "disk",
            "disque*",
            "monitor*",
            "dock*",
            "usb",
            "overheat*",
            "hardware",
            "materiel",
        ),
    ),
    Rule(
        "software-crash",
        Category.SOFTWARE,
        (
            "crash*",
            "plante*",
            "blue screen",
            "ecran bleu",
            "freez*",
            "exception*",
            "stack trace",
            "error message",
            "message d'erreur",
        ),
    ),
    Rule(
        "software-application",
        Category.SOFTWARE,
        (
            "software",
            "logiciel*",
            "application*",
            "install*",
            "update*",
            "mise a jour",
            "licen*",
            "excel",
            "word",
            "teams",
            "windows",
            "linux",
            "browser*",
            "navigateur*",
        ),
    ),
)
PRIORITIES = (
    (
        Priority.CRITICAL,
        (
            "critical",
            "critique",
            "outage",
            "panne generale",
            "everyone",
            "production down",
            "tout le monde",
            "security breach",
            "ransomware",
        ),
    ),
    (Priority.HIGH, ("urgent*", "asap", "immediately", "blocked", "bloque*", "cannot work", "des que possible")),
    (Priority.LOW, ("when you have time", "no hurry", "low priority", "pas urgent", "quand vous pourrez")),
)


def _plain(text: str) -> str:
    """Return lower-case text without accents."""
    decomposed = unicodedata.normalize("NFKD", text.replace("\u2019", "'"))
    return "".join(char for char in decomposed if not unicodedata.combining(char)).casefold()


def _pattern(word: str) -> re.Pattern[str]:
    body = re.escape(word.rstrip("*"))
    ending = r"\w*" if word.endswith("*") else ""
    return re.compile(rf"(?<!\w){body}{ending}(?!\w)")


_RULES = tuple((rule, tuple((word, _pattern(word)) for word in rule.words)) for rule in RULES)
_PRIORITIES = tuple((priority, tuple((word, _pattern(word)) for word in words)) for priority, words in PRIORITIES)


def _found(text: str, patterns: tuple[tuple[str, re.Pattern[str]], ...]) -> tuple[str, ...]:
    return tuple(word.rstrip("*") for word, pattern in patterns if pattern.search(text))


def classify(text: str) -> Classification:
    """Return the category of the rule with most different words in the text, else ``unclassified``."""
    plain = _plain(text)
    best: tuple[Rule, tuple[str, ...]] | None = None
    for rule, patterns in _RULES:
        matched = _found(plain, patterns)
        if matched and (best is None or len(matched) > len(best[1])):
            best = (rule, matched)
    # "pas urgent" contains "urgent": the low priority's whole phrases win over the high one's words
    order = sorted(_PRIORITIES, key=lambda item: (Priority.CRITICAL, Priority.LOW, Priority.HIGH).index(item[0]))
    priority, why = next(
        ((level, found) for level, patterns in order if (found := _found(plain, patterns))), (Priority.NORMAL, ())
    )
    if best is None:
        return Classification(Category.UNCLASSIFIED, None, (), priority, why)
    return Classification(best[0].category, best[0].name, best[1], priority, why)
