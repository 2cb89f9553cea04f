"""Which parts of the sources speak of what failed: the words of the failure beside those of names and comments.

Owns a small text retrieval: blocks (a routine or a datum with the comment above it) are documents, weighted by how rare
a word is over all blocks. What a gate says of "the limit of the IDT" leads to where the sources say such words, even
when no routine is named.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import log, sqrt

from architect.slicing import Key
from architect.source import Tree

_WORD = re.compile(r"[A-Za-z][a-z]+|[A-Z]{2,}[0-9]*|[A-Za-z]+[0-9]+|[a-z]+")
_BEST = 12
_SHORTEST = 3


@dataclass(frozen=True, slots=True)
class _Block:
    """Lines ``first`` to ``last`` of a file, and how often each word stands in them."""

    file: str
    first: int
    last: int
    words: Counter[str]


def words(text: str) -> list[str]:
    """The words of a text, of names too: ``PTE_ADDRESS_MASK`` has three; lower case, plurals cut."""
    found = []
    for name in re.findall(r"[A-Za-z_][\w]*", text):
        for part in name.split("_"):
            for word in _WORD.findall(part) if not part.isupper() else [part]:
                low = word.lower()
                if len(low) >= _SHORTEST:
                    found.append(low[:-1] if low.endswith("s") and len(low) > _SHORTEST else low)
    return found


class Wording:
    """The blocks of a tree, indexed by word."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.blocks = [block for file in sorted(tree.editable) for block in self._split(file)]
        self._spread = Counter(word for block in self.blocks for word in block.words)

    def _split(self, file: str) -> Iterable[_Block]:
        """A block begins at a comment that follows code; so a header goes with its routine."""
        lines = self.tree.lines[file]
        start, coded = 1, False
        for number, line in enumerate(lines, 1):
            comment = line.lstrip().startswith("#")
            if comment and coded:
                yield self._block(file, start, number - 1)
                start, coded = number, False
            elif line.strip() and not comment:
                coded = True
        yield self._block(file, start, len(lines))

    def _block(self, file: str, first: int, last: int) -> _Block:
        text = "\n".join(self.tree.lines[file][first - 1 : last])
        return _Block(file, first, last, Counter(words(f"{file} {text}")))

    @classmethod
    def of(cls, tree: Tree) -> Wording:
        """The index of a tree, made once."""
        return tree.once("wording", lambda: cls(tree))

    def rarity(self, word: str) -> float:
        """How much a word tells: the rarer over blocks, the more."""
        spread = self._spread.get(word, 0)
        return log((1 + len(self.blocks)) / (1 + spread)) if spread else 0.0

    def lines(self, texts: Iterable[str]) -> dict[Key, float]:
        """The lines of the blocks that speak most like ``texts``; those that say the words themselves count more."""
        query = Counter(word for text in texts for word in words(text))
        weights = {word: self.rarity(word) * (1 + log(count)) for word, count in query.items()}
        scored = []
        for block in self.blocks:
            score = sum(weights[w] * (1 + log(block.words[w])) for w in weights if w in block.words)
            scored.append((score / sqrt(8 + len(block.words)), block))
        scored.sort(key=lambda item: -item[0])
        found: dict[Key, float] = {}
        for score, block in scored[:_BEST]:
            for number in range(block.first, block.last + 1):
                said = sum(
                    weights.get(w, 0.0) for w in dict.fromkeys(words(self.tree.lines[block.file][number - 1]))
                )
                if score > 0 and (block.file, number) in self.tree.by_line:
                    found[block.file, number] = score**2 * (1.0 + said) / sqrt(block.last - block.first + 4)
        return found
