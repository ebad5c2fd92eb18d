"""Which texts are computed together: a long one would have all others of its call padded to its length."""

ALIKE = 3.0  # of texts that are computed together, the longest has at most so many times the shortest one's characters
SHORT = 120  # characters; shorter texts are never computed apart: a call has a price of its own


def alike(texts: list[str]) -> list[list[int]]:
    """The texts' numbers, in groups that are computed together; one group, in order, where lengths are alike."""
    longest, shortest = max(map(len, texts)), min(map(len, texts))
    if longest <= max(SHORT, ALIKE * shortest):
        return [list(range(len(texts)))]
    groups: list[list[int]] = []
    for number in sorted(range(len(texts)), key=lambda i: len(texts[i])):
        first = len(texts[groups[-1][0]]) if groups else 0
        if groups and len(texts[number]) <= max(SHORT, ALIKE * first):
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups
