"""The filter language, evaluated the slow and obvious way: what the server must agree with."""

import random

# Years, sizes and names that occur in the data, values between them, and one that never occurs.
OPERANDS = {
    "year_start": [1545, 1794, 1800, 1830, 1899, 1950, 2012, 9999],
    "acquisition_year": [1856, 1922, 1975, 1997],
    "width_mm": [0.0, 112.0, 186.5, 394.0, 1000.0],
    "classification": ["on paper, unique", "painting", "sculpture", "nothing like it"],
    "artist": ["Blake, William", "William Blake", "Robert Blake", "Zz"],
}


def compare(found, op: str, operand) -> bool:
    """One comparison; a missing value sorts below everything."""
    if op == "Eq":
        return found == operand
    if op == "NotEq":
        return found != operand
    left, right = ordered(found), ordered(operand)
    return {
        "Lt": left < right,
        "Lte": left <= right,
        "Gt": left > right,
        "Gte": left >= right,
    }[op]


def ordered(value):
    """A sort key: missing first, text by its bytes."""
    if value is None:
        return (0, 0)
    return (1, value.encode("utf-8") if isinstance(value, str) else value)


def matches(condition, row: dict) -> bool:
    """Whether `row` satisfies `condition`."""
    head, rest = condition[0], condition[1:]
    if head == "And" and isinstance(rest[0], list):
        return all(matches(part, row) for part in rest[0])
    if head == "Or" and isinstance(rest[0], list):
        return any(matches(part, row) for part in rest[0])
    if head == "Not" and len(rest) == 1:
        return not matches(rest[0], row)
    op, operand = rest
    found = row.get(head)
    if op == "In":
        return found is not None and found in operand
    if op == "NotIn":
        return found is None or found not in operand
    return compare(found, op, operand)


def fixed_filters() -> list:
    """Every operator on text, integer, float and id, with and without `null`."""
    cases = [["And", []], ["Or", []]]
    for attribute, operands in OPERANDS.items():
        for op in ("Eq", "NotEq", "Lt", "Lte", "Gt", "Gte"):
            cases += [[attribute, op, operand] for operand in (*operands[:3], None)]
        cases += [[attribute, "In", operands[:2]], [attribute, "NotIn", operands[1:]]]
        cases += [[attribute, "In", []], [attribute, "NotIn", []]]
    cases += [["id", "Gte", "N"], ["id", "Lt", "D00100"], ["id", "In", ["A00001", "none"]]]
    return cases


def random_filters(seed: int, count: int) -> list:
    """Trees of up to three levels, the same for the same seed."""
    chance = random.Random(seed)

    def leaf():
        attribute = chance.choice(sorted(OPERANDS))
        operands = OPERANDS[attribute]
        op = chance.choice(["Eq", "NotEq", "Lt", "Lte", "Gt", "Gte", "In", "NotIn"])
        if op in ("In", "NotIn"):
            return [attribute, op, chance.sample(operands, chance.randint(1, 3))]
        return [attribute, op, chance.choice([*operands, None])]

    def tree(levels: int):
        kind = chance.choice(["leaf", "And", "Or", "Not"]) if levels else "leaf"
        if kind == "leaf":
            return leaf()
        if kind == "Not":
            return ["Not", tree(levels - 1)]
        return [kind, [tree(levels - 1) for _ in range(chance.randint(1, 3))]]

    return [tree(3) for _ in range(count)]
