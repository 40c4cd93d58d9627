# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints who signed the certificate of a name and its number, as JSON, trusting one authority alone.

Arguments: the name, the port on this machine, the file with the authority.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys

if __name__ == "__main__":
    name, port, authority = sys.argv[1:]
    context = ssl.create_default_context(cafile=authority)
    with (
        socket.create_connection(("127.0.0.1", int(port)), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=name) as sealed,
    ):
        certificate = sealed.getpeercert() or {}
    issuer = {key: value for part in certificate["issuer"] for key, value in part}
    print(json.dumps({"issuer": issuer["commonName"], "number": certificate["serialNumber"]}))
