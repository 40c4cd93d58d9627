# SPDX-License-Identifier: GPL-3.0-or-later
"""What a database holds, short enough to be compared: rows, contents, shapes, sequences, extensions, owners, roles."""

from __future__ import annotations

from typing import Any

from psycopg import sql

from .live import Connection, is_superuser

# Objects of extensions are the extension's; partitioned tables hold no rows themselves.
_TABLES = """
SELECT n.nspname, c.relname, r.rolname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.oid = c.relowner
WHERE c.relkind = ANY(%s) AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""
# The sum of both halves of each row's hash: independent of the rows' order and of collations, and needs no sort.
# With the star it is the row, also where a column is called `t`.
_CONTENT = """
SELECT count(*), coalesce(sum(('x' || left(h, 16))::bit(64)::bigint::numeric), 0)::text || '/' ||
coalesce(sum(('x' || right(h, 16))::bit(64)::bigint::numeric), 0)::text
FROM (SELECT md5((t.*)::text) AS h FROM {} AS t) AS hashed
"""
# What a server writes of an expression is not always what it writes after reading that: `x IN ('a', 'b')` of a varchar gets its casts elsewhere.
_FORM = "regexp_replace(line, '[()]|::[a-z]+( varying| precision)?([[][]])?', '', 'g') AS form"
_SHAPE = f"""
SELECT md5(coalesce(string_agg(line, E'\\n' ORDER BY line COLLATE "C"), '')), md5(coalesce(string_agg(form, E'\\n' ORDER BY form COLLATE "C"), ''))
FROM (SELECT line, {_FORM} FROM (
SELECT 'column ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || ' ' ||
coalesce(pg_get_expr(d.adbin, d.adrelid), '') AS line
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %(table)s::regclass AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL SELECT 'constraint ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %(table)s::regclass
UNION ALL SELECT 'index ' || pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %(table)s::regclass
UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = %(table)s::regclass AND NOT tgisinternal
) AS lines) AS forms
"""  # noqa: S608 - a constant
_CODE = f"""
SELECT count(*)::text || '/' || md5(coalesce(string_agg(line, E'\\n' ORDER BY line COLLATE "C"), '')),
count(*)::text || '/' || md5(coalesce(string_agg(form, E'\\n' ORDER BY form COLLATE "C"), '')) FROM (SELECT line, {_FORM} FROM (
SELECT pg_get_functiondef(p.oid) AS line FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prokind IN ('f', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
UNION ALL SELECT n.nspname || '.' || c.relname || ' ' || pg_get_viewdef(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
) AS lines) AS forms
"""  # noqa: S608 - a constant
_LARGE = """
SELECT count(DISTINCT loid)::text || '/' || coalesce(sum(('x' || left(md5(loid || ' ' || pageno || ' ' || md5(data)), 16))::bit(64)::bigint::numeric), 0)::text
FROM pg_largeobject
"""
_ROLES = """
SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
ARRAY(SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid ORDER BY 1)::text[],
coalesce(rolconfig, '{}')
FROM pg_roles r WHERE rolname NOT LIKE 'pg\\_%' ORDER BY 1
"""


def sequences(connection: Connection) -> dict[str, int]:
    """The last value of every sequence; they move whatever the transaction, so the one who asks asks twice."""
    found: dict[str, int] = {}
    for schema, name, _owner in connection.execute(_TABLES, [["S"]]).fetchall():
        query = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(schema, name))
        (value, called) = connection.execute(query).fetchone() or (0, False)
        # the value that was given last: a fresh sequence has given none
        found[f"{schema}.{name}"] = int(value) if called else int(value) - 1
    return found


def roles(connection: Connection) -> dict[str, list[Any]]:
    """Every role with what it may, its memberships and its settings."""
    return {str(row[0]): list(row[1:]) for row in connection.execute(_ROLES).fetchall()}


def take(connection: Connection) -> dict[str, Any]:
    """The fingerprint of the database a connection is in, in the snapshot of its transaction.

    Returns:
        `tables` (`schema.name`: rows, hash, owner, shape, form), `sequences` (`[before, after]`), `extensions`, `code`,
        `code_form`, `large_objects`. A form is a shape without casts and parentheses.
    """
    before = sequences(connection)
    tables: dict[str, Any] = {}
    for schema, name, owner in connection.execute(_TABLES, [["r"]]).fetchall():
        query = sql.SQL(_CONTENT).format(sql.Identifier(schema, name))
        (rows, content) = connection.execute(query).fetchone() or (0, "")
        table = sql.Identifier(schema, name).as_string(connection)
        (shape, form) = connection.execute(_SHAPE, {"table": table}).fetchone() or ("", "")
        tables[f"{schema}.{name}"] = {
            **{"rows": int(rows), "hash": content, "owner": owner},
            **{"shape": shape, "form": form},
        }
    (code, code_form) = connection.execute(_CODE).fetchone() or ("", "")
    large = ""
    if is_superuser(connection):
        (large,) = connection.execute(_LARGE).fetchone() or ("",)
    extensions = dict(connection.execute("SELECT extname, extversion FROM pg_extension ORDER BY 1").fetchall())
    after = sequences(connection)
    return {
        "tables": tables,
        "sequences": {name: [before.get(name, value), value] for name, value in after.items()},
        "extensions": extensions,
        "code": code,
        "code_form": code_form,
        "large_objects": large,
    }


def rows(found: dict[str, Any]) -> int:
    """How many rows a fingerprint counted."""
    return sum(int(table["rows"]) for table in found["tables"].values())


def difference(wanted: dict[str, Any], found: dict[str, Any]) -> str:
    """What is not as it was, in words for one sentence; empty when nothing is."""
    said: list[str] = []
    for name in sorted({*wanted["tables"], *found["tables"]}):
        one, other = wanted["tables"].get(name), found["tables"].get(name)
        if one is None or other is None:
            said.append(f"table {name} is {'not there' if other is None else 'there and was not'}")
        elif one["rows"] != other["rows"]:
            said.append(f"table {name} has {other['rows']} rows instead of {one['rows']}")
        else:
            words = {"hash": "content", "owner": "owner"}
            said += [f"the {word} of table {name} differs" for key, word in words.items() if one[key] != other[key]]
            if _differs(one, other, "shape", "form"):
                said.append(f"the shape of table {name} differs")
    for name, (low, high) in sorted(wanted["sequences"].items()):
        value = found["sequences"].get(name, [None])[0]
        if value is None:
            said.append(f"sequence {name} is not there")
        elif not min(low, high) <= value <= max(low, high):
            said.append(f"sequence {name} stands at {value} instead of {high}")
    said += [f"extension {name} is not there" for name in sorted(set(wanted["extensions"]) - set(found["extensions"]))]
    if _differs(wanted, found, "code", "code_form"):
        said.append("the functions or views differ")
    if wanted["large_objects"] and found["large_objects"] and wanted["large_objects"] != found["large_objects"]:
        said.append("the large objects differ")
    more = f" and {len(said) - 3} more" if len(said) > 3 else ""
    return "; ".join(said[:3]) + more


def _differs(wanted: dict[str, Any], found: dict[str, Any], *keys: str) -> bool:
    """Whether none of these is equal; a backup of before has not all of them."""
    return not any(key in wanted and wanted[key] == found[key] for key in keys)
