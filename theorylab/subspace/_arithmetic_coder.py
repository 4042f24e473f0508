r"""Arithmetic coding of symbols, with whole numbers only, by a model that learns as it goes.

An interval [low, high] of whole numbers below :math:`2^{48}` is narrowed with each symbol, in
proportion to the symbol's weight; leading bits that can no longer change are written, and where the
interval lies across the middle their decision is put off (Witten, Neal & Cleary). The weights are
:math:`2 c_k + 1` for a symbol seen :math:`c_k` times (Krichevsky & Trofimov): n symbols of K kinds
and empirical entropy H cost about :math:`n H + \tfrac{K - 1}{2} \log_2 n` bits, with no table of
frequencies. Two bits at the end fix the interval whatever follows, so that for given n and K no
code begins another, and a decoder that knows n and K knows where the code ends.

Differs from the paper / reference:
  1. Lotfi et al. send K probabilities and code with decimal fractions of thousands of digits; for
     long vectors they take the entropy for the length. Here the code is always written.
  2. WIDTH is 48 bits, for which Python's integers cost no more than for 32; the sum of weights is
     at most TOTAL, so that rounding of the interval costs below 2^-15 bits a symbol.
"""

from collections.abc import Sequence

WIDTH = 48
TOTAL = 2**30
FULL = 2**WIDTH - 1
HALF, QUARTER = 2 ** (WIDTH - 1), 2 ** (WIDTH - 2)


class BitReader:
    """Bits of a byte string, most significant first."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.size = 8 * len(data)

    def bit(self) -> int:
        """The next bit; 0 behind the end, where only an arithmetic decoder looks."""
        at = self.position
        self.position += 1
        return self.data[at >> 3] >> (7 - (at & 7)) & 1 if at < self.size else 0

    def number(self, count: int) -> int:
        """The next `count` bits as a whole number; ValueError if there are not so many."""
        if self.position + count > self.size:
            raise ValueError(
                f"the code ends early: {count} more bits wanted at {self.position} of {self.size}"
            )
        value = 0
        for _ in range(count):
            value = 2 * value + self.bit()
        return value


def number_bits(value: int, count: int) -> list[int]:
    """The last `count` bits of a whole number."""
    return [value >> (count - 1 - i) & 1 for i in range(count)]


def natural_bits(value: int) -> list[int]:
    """A whole number >= 1 in Elias's delta code, which is prefix-free."""
    length = value.bit_length()
    prefix = length.bit_length()
    return [0] * (prefix - 1) + number_bits(length, prefix) + number_bits(value, length)[1:]


def read_natural(reader: BitReader) -> int:
    """Read what `natural_bits` wrote; ValueError if it is nothing that it writes."""
    zeros = 0
    while not reader.number(1):
        zeros += 1
        if zeros > 6:  # a length of 64 bits and more
            raise ValueError("the code holds a number above 2^63")
    length = 2**zeros | reader.number(zeros)
    if length > 63:
        raise ValueError("the code holds a number above 2^63")
    return 2 ** (length - 1) | reader.number(length - 1)


class _Weights:
    """Weights of K symbols, with their running sums in a tree of partial sums (Fenwick)."""

    def __init__(self, kinds: int) -> None:
        self.total = kinds
        self.tree = [i & -i for i in range(kinds + 1)]
        self.top = 1 << (kinds.bit_length() - 1)

    def below(self, symbol: int) -> int:
        total = 0
        while symbol:
            total += self.tree[symbol]
            symbol &= symbol - 1
        return total

    def find(self, target: int) -> tuple[int, int]:
        """The symbol in whose share `target` lies, and the sum below it."""
        symbol, total, stride = 0, 0, self.top
        while stride:
            upper = symbol + stride
            if upper < len(self.tree) and total + self.tree[upper] <= target:
                symbol, total = upper, total + self.tree[upper]
            stride >>= 1
        return symbol, total

    def seen(self, symbol: int) -> None:
        self.total += 2
        symbol += 1
        while symbol < len(self.tree):
            self.tree[symbol] += 2
            symbol += symbol & -symbol


def encode(symbols: Sequence[int], kinds: int) -> list[int]:
    """Bits of symbols in 0 .. kinds - 1; ValueError where there are too many for the weights."""
    check_size(len(symbols), kinds)
    weights, bits = _Weights(kinds), list[int]()
    low, high, pending = 0, FULL, 0

    def write(bit: int) -> None:
        nonlocal pending
        bits.append(bit)
        bits.extend([1 - bit] * pending)
        pending = 0

    for symbol in symbols:
        below, above = weights.below(symbol), weights.below(symbol + 1)
        span, total = high - low + 1, weights.total
        low, high = low + span * below // total, low + span * above // total - 1
        weights.seen(symbol)
        while True:
            if high < HALF:
                write(0)
            elif low >= HALF:
                write(1)
                low, high = low - HALF, high - HALF
            elif low >= QUARTER and high < 3 * QUARTER:
                pending += 1
                low, high = low - QUARTER, high - QUARTER
            else:
                break
            low, high = 2 * low, 2 * high + 1
    pending += 1
    write(0 if low < QUARTER else 1)
    return bits


def decode(reader: BitReader, count: int, kinds: int) -> list[int]:
    """The `count` symbols that `encode` wrote; the reader is left at the end of their code."""
    check_size(count, kinds)
    weights, symbols = _Weights(kinds), list[int]()
    start, shifts = reader.position, 0
    low, high, value = 0, FULL, 0
    for _ in range(WIDTH):
        value = 2 * value + reader.bit()
    for _ in range(count):
        span, total = high - low + 1, weights.total
        symbol, below = weights.find(((value - low + 1) * total - 1) // span)
        above = weights.below(symbol + 1)
        low, high = low + span * below // total, low + span * above // total - 1
        weights.seen(symbol)
        symbols.append(symbol)
        while True:
            if high < HALF:
                away = 0
            elif low >= HALF:
                away = HALF
            elif low >= QUARTER and high < 3 * QUARTER:
                away = QUARTER
            else:
                break
            low, high = 2 * (low - away), 2 * (high - away) + 1
            value = 2 * (value - away) + reader.bit()
            shifts += 1
    reader.position = start + shifts + 2
    if reader.position > reader.size:
        raise ValueError(f"the code ends early: {reader.position} bits wanted, got {reader.size}")
    return symbols


def check_size(count: int, kinds: int) -> None:
    """Refuse more symbols than the weights have room for."""
    if 2 * count + kinds > TOTAL:
        raise ValueError(f"at most {TOTAL // 2} coordinates can be coded, got {count}")
