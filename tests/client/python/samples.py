"""Made-up documents with every kind of value, and the slow and obvious way to evaluate queries over them."""

import random
import re

from filters import compare, matches, ordered

TOPICS = ["sea", "sky", "Sky and sea", "mountain", None]
TAGS = ["red", "blue", "green", "Blue note", "grey"]
SCHEMA = {
    "u": "uint",
    "share": "float",
    "scores": "[]int",
    "topic": {"type": "string", "regex": True, "glob": True, "filterable": True},
    "tags": {"type": "[]string", "regex": True, "glob": True, "filterable": True},
}


def rows(count: int, seed: int) -> list[dict]:
    """Documents of ids 1 to `count`, some attributes missing; the same for the same seed."""
    chance = random.Random(seed)

    def maybe(value):
        return None if chance.random() < 0.15 else value

    made = []
    for number in range(1, count + 1):
        row = {
            "id": number,
            "vector": [float(chance.randint(-8, 8)) for _ in range(3)],
            "topic": chance.choice(TOPICS),
            "year": maybe(chance.randint(1890, 1899)),
            "big": maybe(chance.choice([-(2**62), 2**62, 2**53 + 1, 7])),
            "u": maybe(chance.randint(0, 12)),
            "share": maybe(chance.randint(-8, 8) / 4),
            "open": maybe(chance.random() < 0.5),
            "tags": maybe(chance.sample(TAGS, chance.randint(0, 3))),
            "scores": maybe([chance.randint(0, 9) for _ in range(chance.randint(0, 3))]),
        }
        made.append({key: value for key, value in row.items() if value is not None})
    return made


def glob_to_regex(pattern: str, flags: int = 0) -> re.Pattern:
    """What a glob of `*`, `?`, classes and alternatives means, as a regular expression."""
    out = ""
    for part in re.findall(r"\[!?[^\]]+\]|.", pattern, re.DOTALL):
        if part[0] == "[" and len(part) > 1:
            out += part.replace("[!", "[^")
        else:
            out += {"*": ".*", "?": ".", "{": "(?:", "}": ")", ",": "|"}.get(part, re.escape(part))
    return re.compile(out, re.DOTALL | flags)


def selects(condition, row: dict) -> bool:
    """Whether `row` satisfies `condition`, which may use every operator served."""
    head, rest = condition[0], condition[1:]
    if head in ("And", "Or") and isinstance(rest[0], list):
        parts = [selects(part, row) for part in rest[0]]
        return all(parts) if head == "And" else any(parts)
    if head == "Not" and len(rest) == 1:
        return not selects(rest[0], row)
    op, operand = rest
    found = row.get(head)
    if op.startswith("Not") and op not in ("NotEq", "NotIn"):
        return not selects([head, op[3:], operand], row)
    if op in ("NotEq", "NotIn"):
        return not selects([head, {"NotEq": "Eq", "NotIn": "In"}[op], operand], row)
    elements = found if isinstance(found, list) else [] if found is None else [found]
    if op == "Contains":
        return operand in elements
    if op == "ContainsAny" or (op == "In" and isinstance(found, list)):
        return any(element in operand for element in elements)
    if op.startswith("Any"):
        return any(compare(element, op[3:], operand) for element in elements)
    if op in ("Glob", "IGlob"):
        pattern = glob_to_regex(operand, re.IGNORECASE if op == "IGlob" else 0)
        return any(pattern.fullmatch(element) for element in elements)
    if op == "Regex":
        return any(re.search(operand, element) for element in elements)
    return matches(condition, row)


def operator_filters() -> list:
    """Every operator, with operands that select some rows, none and all, and `null` where it may stand."""
    cases = [["And", []], ["Or", []], ["Not", ["Or", []]]]
    for attribute, operands in {
        "year": [1889, 1893, 1899],
        "big": [-(2**62), 2**53, 2**53 + 1],
        "u": [0, 6, 12],
        "share": [-2.0, 0, 0.25],
        "topic": ["mountain", "sky", ""],
        "id": [1, 30, 2**64 - 1],
    }.items():
        nulls = [] if attribute == "id" else [None]
        for op in ("Eq", "NotEq", "Lt", "Lte", "Gt", "Gte"):
            cases += [[attribute, op, operand] for operand in operands + nulls]
        cases += [[attribute, op, operands[:2]] for op in ("In", "NotIn")]
        cases += [[attribute, op, []] for op in ("In", "NotIn")]
    cases += [["open", op, value] for op in ("Eq", "NotEq") for value in (True, False, None)]
    for attribute, element, several in (
        ("tags", "blue", ["red", "grey"]),
        ("scores", 4, [0, 9]),
    ):
        cases += [[attribute, op, element] for op in ("Contains", "NotContains")]
        for op in ("ContainsAny", "NotContainsAny", "In", "NotIn"):
            cases += [[attribute, op, several], [attribute, op, []]]
        cases += [[attribute, op, element] for op in ("AnyLt", "AnyLte", "AnyGt", "AnyGte")]
        cases += [[attribute, op, value] for op in ("Eq", "NotEq") for value in ([], [element], None)]
    for attribute in ("topic", "tags"):
        for pattern in ("s*", "*[Bb]lue*", "?ky", "{sea,red}", "[!s]*", "none"):
            cases += [[attribute, op, pattern] for op in ("Glob", "NotGlob", "IGlob", "NotIGlob")]
        cases += [[attribute, "Regex", pattern] for pattern in ("^s", "(?i)blue|SKY", "e$", "^$")]
    return cases


def random_filters(seed: int, count: int) -> list:
    """Trees of up to three levels over all operators; the same for the same seed."""
    chance = random.Random(seed)
    leaves = operator_filters()[3:]

    def tree(levels: int):
        kind = chance.choice(["leaf", "And", "Or", "Not"]) if levels else "leaf"
        if kind == "leaf":
            return chance.choice(leaves)
        if kind == "Not":
            return ["Not", tree(levels - 1)]
        return [kind, [tree(levels - 1) for _ in range(chance.randint(1, 3))]]

    return [tree(3) for _ in range(count)]


def groups(selected: list[dict], keys: list[str]) -> dict[tuple, list[dict]]:
    """Rows by their values of `keys`, in the order of the keys, missing values first."""
    found: dict[tuple, list[dict]] = {}
    for row in selected:
        found.setdefault(tuple(row.get(key) for key in keys), []).append(row)
    return dict(sorted(found.items(), key=lambda item: [ordered(value) for value in item[0]]))
