"""Residual products of photos, region by region, as fast as their predictions can be read. Compiled by numba.

numpy would pass over every value six times, each time through memory; here a tile of pixels goes from half precision to
residuals to products while it stays in the first cache. Channels stay where they are, next to one another: four pixels
fill twelve lanes, three vectors of four, and each lane sums its own channel. A lane goes over the pixels of a ring in
order, and lanes are added in order: the sum of a pair of members depends on the photo's boxes alone, whatever other
members, workers and tiles there are.

Three inner loops are written as instructions for LLVM, because what the compiler makes of plain ones is two to five
times as slow: it cannot know that arrays do not overlap, and spreads sums over lanes in its own way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, njit, types

from kit.blending.grams.layout import TILE

LANES = 12
SLACK = 64
"""Values behind the last one of a buffer that is copied from or to sixteen at a time."""

_STEP = 24  # values that become residuals at a time: three vectors of eight
_ROW = 3 * TILE + SLACK  # of residuals; a multiple of four values, no power of two
_OF_HALF = 2.0**112  # a half's exponent is 112 too small where its bits are read as a float's
_LARGEST = 0x7BFF  # bits of the largest finite half

# --- vectors -------------------------------------------------------------------------------------------------------
# Each function below gets flat C-contiguous arrays and places in them, and makes the code of one loop.

_instruction: Any = extending.intrinsic  # what it makes of a function has other arguments
_DOUBLE, _INDEX = ir.DoubleType(), ir.IntType(64)
_FUSED = ("contract",)  # a product and a sum may be one instruction; no sum is taken apart


def _index(number: int) -> ir.Constant:
    return ir.Constant(_INDEX, number)


def _loop(builder: Any, steps: Any, starts: list[Any], body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
    """`for step in range(steps): sums = body(step, sums)`, at least once; sums stay in registers. Returns them."""
    before, inside, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
    builder.branch(inside)
    builder.position_at_end(inside)
    step = builder.phi(_INDEX)
    sums = [builder.phi(start.type) for start in starts]
    results = body(step, sums)
    following = builder.add(step, _index(1))
    builder.cbranch(builder.icmp_signed("<", following, steps), inside, after)
    for phi, start, result in zip([step, *sums], [_index(0), *starts], [following, *results], strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(result, builder.block)
    builder.position_at_end(after)
    return results


class _Arrays:
    """Loads and stores vectors at places of the arrays that an instruction was given."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self._context, self._builder, self._types, self._arguments = context, builder, signature.args, arguments

    def pointer(self, argument: int, place: Any) -> Any:
        """To a place of this argument."""
        array = self._context.make_array(self._types[argument])(self._context, self._builder, self._arguments[argument])
        return self._builder.gep(array.data, [place])

    def load(self, pointer: Any, count: int, offset: int = 0) -> Any:
        """`count` elements from `offset` behind the pointer on."""
        return self._builder.load(self._vector(pointer, count, offset), align=1)

    def store(self, value: Any, pointer: Any, offset: int = 0) -> None:
        """The inverse of `load`."""
        self._builder.store(value, self._vector(pointer, value.type.count, offset), align=1)

    def _vector(self, pointer: Any, count: int, offset: int) -> Any:
        kind = ir.VectorType(pointer.type.pointee, count).as_pointer()
        return self._builder.bitcast(self._builder.gep(pointer, [_index(offset)]), kind)


@_instruction
def _copy_sixteen(_, source, start, target, place):  # type: ignore[no-untyped-def]
    """`target[place : place + 16] = source[start : start + 16]`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays = _Arrays(context, builder, signature, arguments)
        arrays.store(arrays.load(arrays.pointer(0, arguments[1]), 16), arrays.pointer(2, arguments[3]))
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64), generate


@_instruction
def _subtract(_, halves, start, scale, offset, z, row, steps, sums, place):  # type: ignore[no-untyped-def]
    """`z[row + t] = half(halves[start + t]) * scale[t % 24] - offset[t]` for `24 * steps` values t.

    All are added to `sums[place + t % 24]`. `scale` holds 2^112 as a factor, because a half becomes a float by moving
    its bits: exact, for zeros and subnormals as well, on processors with and without an instruction for it.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays = _Arrays(context, builder, signature, arguments)
        halves, offset = arrays.pointer(0, arguments[1]), arrays.pointer(3, _index(0))
        z, sums = arrays.pointer(4, arguments[5]), arrays.pointer(7, arguments[8])
        integers, floats, doubles = (ir.VectorType(kind, 8) for kind in (ir.IntType(32), ir.FloatType(), _DOUBLE))
        left, sign_and_number = (ir.Constant(integers, [number] * 8) for number in (13, 0x8FFFE000))
        scale = arrays.pointer(2, _index(0))
        scales = [arrays.load(scale, 8, 8 * n) for n in range(3)]

        def body(step: Any, sums: list[Any]) -> list[Any]:
            at = builder.mul(step, _index(_STEP))
            results = []
            for n in range(3):
                bits = builder.sext(arrays.load(builder.gep(halves, [at]), 8, 8 * n), integers)
                bits = builder.and_(builder.shl(bits, left), sign_and_number)
                value = builder.fpext(builder.bitcast(bits, floats), doubles)
                value = builder.fmul(value, scales[n], flags=_FUSED)
                value = builder.fsub(value, arrays.load(builder.gep(offset, [at]), 8, 8 * n), flags=_FUSED)
                arrays.store(value, builder.gep(z, [at]), 8 * n)
                results.append(builder.fadd(sums[n], value))
            return results

        results = _loop(builder, arguments[6], [arrays.load(sums, 8, 8 * n) for n in range(3)], body)
        for n in range(3):
            arrays.store(results[n], sums, 8 * n)
        return context.get_dummy_value()

    integer = types.int64
    return types.void(halves, integer, scale, offset, z, integer, integer, sums, integer), generate


@_instruction
def _multiply(_, z, row, other, groups, sums, place):  # type: ignore[no-untyped-def]
    """Add products of two rows and the ones behind them with two others, `12 * groups` values, lane by lane.

    `sums[place:]` holds twelve lanes each of row by other, row by other + 1, row + 1 by other, row + 1 by other + 1:
    twelve vectors, which is what registers there are besides four to load into. Each load is used twice.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays = _Arrays(context, builder, signature, arguments)
        rows = [arrays.pointer(0, builder.mul(arguments[n], _index(_ROW))) for n in (1, 2)]
        sums = arrays.pointer(4, arguments[5])

        def body(step: Any, sums: list[Any]) -> list[Any]:
            at = builder.mul(step, _index(LANES))
            results = list(sums)
            for part in range(3):
                a, b = (
                    [arrays.load(builder.gep(row, [at]), 4, second * _ROW + 4 * part) for second in range(2)]
                    for row in rows
                )
                for pair in range(4):
                    product = builder.fmul(a[pair // 2], b[pair % 2], flags=_FUSED)
                    results[3 * pair + part] = builder.fadd(sums[3 * pair + part], product, flags=_FUSED)
            return results

        results = _loop(builder, arguments[3], [arrays.load(sums, 4, 4 * n) for n in range(12)], body)
        for n in range(12):
            arrays.store(results[n], sums, 4 * n)
        return context.get_dummy_value()

    return types.void(z, types.int64, types.int64, types.int64, sums, types.int64), generate


# --- photos --------------------------------------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def _move(values: np.ndarray, sources: np.ndarray, places: np.ndarray, tile: np.ndarray, begin: int) -> None:
    """Put the pixels of a tile next to one another; what a move copies too much, the next one replaces."""
    for n in range(len(sources)):
        _copy_sixteen(values, np.int64(sources[n]), tile, begin + np.int64(places[n]))


@njit(nogil=True, cache=True)
def _is_finite(halves: np.ndarray) -> bool:
    largest = np.uint16(0)
    for n in range(len(halves)):
        largest = max(largest, np.uint16(halves[n] & np.uint16(0x7FFF)))
    return bool(largest <= _LARGEST)


@njit(nogil=True, cache=True)
def add_photos(
    raw: np.ndarray,
    stride: int,
    truth: np.ndarray,
    ends: np.ndarray,
    moves: tuple[np.ndarray, np.ndarray],
    counts: np.ndarray,
    factors: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    first: int,
    rows: np.ndarray,
    products: np.ndarray,
    sums: np.ndarray,
) -> tuple[int, int]:
    """Residual products of some photos by region.

    Residuals are `p * scale[c] + shift[c] - (truth / 255 - low[c]) * gain[c]`.

    Args:
        raw: flat uint16, bits of float16 predictions; the values of a member begin `stride` behind those of the last.
        truth, ends, moves, counts: of `lay_out`.
        factors: scale, shift, low, gain, each `(P, 3)`.
        first: members before this even number are not multiplied with one another: their products are known.
        rows: `(c,)`, these photos' rows of all that has P of them.
        products: `(P, R, K, K)`, sums: `(P, R, K)`, zero there; R is three times the rings, or 1 to add regions up.

    Returns:
        -1, -1, or the first photo and its first member with a value that is not finite: nothing is done from there on.
    """
    for photo in range(len(rows)):
        begin, end, row = ends[photo], ends[photo + 1], rows[photo]
        for k in range(sums.shape[2]):
            if not _is_finite(raw[k * stride + 3 * begin : k * stride + 3 * end]):
                return photo, k
        own = moves[0][begin:end], moves[1][begin:end]
        numbers = factors[0][row], factors[1][row], factors[2][row], factors[3][row]
        _add_photo(
            raw[3 * begin :], stride, truth[3 * begin :], own, counts[photo], numbers, first, products[row], sums[row]
        )
    return -1, -1


@njit(nogil=True, cache=True)
def _add_photo(
    raw: np.ndarray,
    stride: int,
    truth: np.ndarray,
    moves: tuple[np.ndarray, np.ndarray],
    counts: np.ndarray,
    factors: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    first: int,
    products: np.ndarray,
    sums: np.ndarray,
) -> None:
    K = sums.shape[1]
    scale, shift, low, gain = factors
    sources, places = moves
    even = K + K % 2
    z, halves, bytes_ = np.zeros(even * _ROW), np.empty(K * _ROW, np.uint16), np.empty(_ROW, np.uint8)
    offset, slope, level, scales = np.zeros(_ROW), np.empty(_ROW), np.empty(_ROW), np.empty(_STEP)
    for t in range(_ROW):
        c = t % 3
        slope[t], level[t] = gain[c] / 255.0, -low[c] * gain[c] - shift[c]
    for t in range(_STEP):
        scales[t] = scale[t % 3] * _OF_HALF
    blocks, rows = np.empty(even * (even // 2 + 1) * 24), np.empty(even * _STEP)
    last = 0
    for ring in range(counts.shape[1]):
        blocks[:], rows[:] = 0.0, 0.0
        end = last + counts[0, ring]
        for tile in range(0, counts[1, ring], TILE):
            values = 3 * min(TILE, counts[1, ring] - tile)
            steps, groups = -(-values // _STEP), -(-values // LANES)
            begin, last = last, last + 1
            while last < end and places[last]:  # the first move of a tile goes to its beginning
                last += 1
            at, to = sources[begin:last], places[begin:last]
            _move(truth, at, to, bytes_, 0)
            for t in range(values):
                offset[t] = bytes_[t] * slope[t] + level[t]
            offset[values : steps * _STEP] = 0.0
            for k in range(K):
                _move(raw[k * stride :], at, to, halves, k * _ROW)
                halves[k * _ROW + values : k * _ROW + steps * _STEP] = 0
            for k in range(K):  # not at once: a load waits long for stores that it overlaps in part
                _subtract(halves, k * _ROW, scales, offset, z, k * _ROW, steps, rows, k * _STEP)
            place = 0
            for a in range(first, even, 2):
                for b in range(0, a + 2, 2):
                    _multiply(z, a, b, groups, blocks, place)
                    place += 4 * LANES
        _add_lanes(blocks, rows, first, 3 * ring, products, sums)


@njit(nogil=True, cache=True)
def _add_lanes(
    blocks: np.ndarray, rows: np.ndarray, first: int, region: int, products: np.ndarray, sums: np.ndarray
) -> None:
    """From lanes of a ring to its three regions, or to the only one."""
    K = sums.shape[1]
    even, by_region = K + K % 2, len(sums) > 1
    for channel in range(3):
        into = region + channel if by_region else 0
        for k in range(K):
            total = 0.0
            for lane in range(channel, _STEP, 3):
                total += rows[k * _STEP + lane]
            sums[into, k] += total
        place = 0
        for a in range(first, even, 2):
            for b in range(0, a + 2, 2):
                for pair in range(4):
                    i, j = a + pair // 2, b + pair % 2
                    if j <= i < K:
                        total = 0.0
                        for lane in range(channel, LANES, 3):
                            total += blocks[place + pair * LANES + lane]
                        products[into, i, j] += total
                        if i != j:
                            products[into, j, i] += total
                place += 4 * LANES
