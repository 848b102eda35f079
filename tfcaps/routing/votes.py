"""Votes, and the few operations on them that routings are made of.

A routing reads the votes several times an iteration. Differentiated one by one, each reading
would write a gradient as large as the votes. But with x the votes of one sample, all that routings
do is of the forms

    Σ_i w_i x_i      Σ_i w_i x_i²      x_i · q      x_i² · p

whose gradients are outer products, `w ⊗ ds`, `2x (w ⊗ ds)`, `dl ⊗ q`, `2x (dl ⊗ p)`. So each
reading only hands its two factors to a *slot*, and `SlotVotes.open` adds up the slots' products in
one pass at the very end of the backward computation: a slot is a pair of zeros that `open` gives
out and that a reading takes as arguments, with its factors as their "gradients".

That is the first derivative. Its computation reads x in turn, and there x is an ordinary result of
what it was made from. So a derivative of the derivative is the backend's own, and exact.
"""

import abc
import functools

from keras import ops

from tfcaps.errors import UsageError
from tfcaps.ops import compiled, is_compilation_enabled

# What a reading gives back to x, which gets its gradient by the slots.
NOTHING = None
# From this input dimension on a matrix product per input capsule beats a fused sum of products.
_FUSED_DIMENSIONS = 16


class Votes(abc.ABC):
    """Votes `û` of shape `(..., O, I, E)` in float32, made from one or more tensors.

    Args:
        tensors: what the votes are computed from.
        shape: `(..., O, I, E)`; only the last three sizes are used.

    Attributes:
        mask: which input capsules are there, `(..., I)`, 1 or 0; None: all. The votes of the others
            are 0, and so change no sum; what counts votes has to leave them out.
    """

    mask = None

    def __init__(self, tensors, shape):
        self.tensors = tuple(ops.cast(tensor, "float32") for tensor in tensors)
        self.output_capsules, self.input_capsules, self.dim = shape[-3:]

    @abc.abstractmethod
    def check_read(self):
        """Checks, when a routing is done, that it read the votes as often as it had announced.

        Raises:
            UsageError: it did so less often.
        """

    @abc.abstractmethod
    def open(self, *, linear, quadratic=0, centre_weights=None):
        """Materialises the votes for reading.

        Args:
            linear: how many readings of x there will be.
            quadratic: how many readings of x² there will be. Default 0.
            centre_weights: `(..., I)`; x is û less its mean with these weights, which is taken
                for a constant. Default None: x is û itself.

        Returns:
            `OpenVotes`, or what can be read like them.
        """


class SlotVotes(Votes):
    """Votes whose readings are differentiated together."""

    def __init__(self, tensors, shape):
        super().__init__(tensors, shape)
        self._opened = []

    def check_read(self):
        for opened in self._opened:
            opened.check_read()

    @abc.abstractmethod
    def _materialize(self, *tensors):
        """The array of votes."""

    def _materialize_centred(self, *arguments):
        """The votes less their weighted mean, and that mean; the shares are the last argument."""
        return _less_mean(self._materialize(*arguments[:-1]), arguments[-1])

    @abc.abstractmethod
    def _pull_back(self, tensors, x, linear, quadratic):
        """A gradient for each tensor, from x as it was read and the factors in the slots."""

    def open(self, *, linear, quadratic=0, centre_weights=None):
        x, centre = self._opened_at(centre_weights)
        slots = self._slots(x, linear + quadratic, linear)
        opened = OpenVotes(x, centre, slots[:linear], slots[linear:])
        self._opened.append(opened)
        return opened

    def _opened_at(self, centre_weights):
        """x, and what was subtracted from the votes."""
        if centre_weights is not None:
            x, centre = self._materialize_centred(*self.tensors, shares_of(centre_weights))
            return x, ops.stop_gradient(centre)  # or nothing would be a gradient of x, all zeros
        x = self._materialize(*self.tensors)
        return x, _zeros_without_inputs(x)

    def _slots(self, x, count, linear):
        """Pairs of zeros, the first so many for readings of x and the others for x²."""

        @ops.custom_gradient
        def make(x, *tensors):
            lefts = [ops.zeros_like(x[..., 0]) for _ in range(count)]
            rights = [_zeros_without_inputs(x) for _ in range(count)]

            def gradient(*upstream):
                factors = _cotangents(upstream)
                slots = list(zip(factors[:count], factors[count:], strict=True))
                return NOTHING, *self._pull_back(tensors, x, slots[:linear], slots[linear:])

            return (*lefts, *rights), gradient

        zeros = make(x, *self.tensors)
        return list(zip(zeros[:count], zeros[count:], strict=True))


class ArrayVotes(SlotVotes):
    """Votes that are there as an array.

    Args:
        votes: `(..., O, I, E)`.
    """

    def __init__(self, votes):
        super().__init__((votes,), votes.shape)

    def _materialize(self, votes):
        return votes

    def _pull_back(self, tensors, x, linear, quadratic):
        return (_sum_of_products(x, *_factors(linear), *_factors(quadratic)),)


class DenseVotes(SlotVotes):
    """Votes `û[b,o,i] = W[o,i] u[b,i]` of dense capsules.

    Args:
        inputs: capsules u, `(B, I, D)`.
        kernel: W, `(O, I, E, D)`.
    """

    def __init__(self, inputs, kernel):
        super().__init__((inputs, kernel), kernel.shape[:3])

    def _materialize(self, inputs, kernel):
        if _is_fused(kernel):
            return _dense_votes(inputs, kernel)
        return ops.einsum("bid,oied->boie", inputs, kernel)

    def _materialize_centred(self, inputs, kernel, shares):
        if _is_fused(kernel):
            return _centred_dense_votes(inputs, kernel, shares)
        return super()._materialize_centred(inputs, kernel, shares)

    def _pull_back(self, tensors, x, linear, quadratic):
        inputs, kernel = tensors
        count, dim = self.input_capsules, kernel.shape[-1]
        if quadratic:
            gradient = _sum_of_products(x, *_factors(linear), *_factors(quadratic))
            gradient = ops.transpose(gradient, (2, 0, 1, 3))
        else:
            gradient = _transposed_sum_of_products(*_factors(linear))
        # (I, B, O·E): one matrix product per input capsule gives each of the two gradients.
        gradient = ops.reshape(gradient, (count, -1, self.output_capsules * self.dim))
        per_input = ops.reshape(ops.transpose(kernel, (1, 0, 2, 3)), (count, -1, dim))
        inputs_gradient = ops.transpose(ops.matmul(gradient, per_input), (1, 0, 2))
        kernel_gradient = ops.matmul(ops.transpose(inputs, (1, 2, 0)), gradient)
        kernel_gradient = ops.transpose(
            ops.reshape(kernel_gradient, (count, dim, self.output_capsules, self.dim)),
            (2, 0, 3, 1),
        )
        return inputs_gradient, kernel_gradient


class OpenVotes:
    """Materialised votes x, and slots for the gradients of their readings.

    Args:
        array: x, `(..., O, I, E)`.
        centre: what was subtracted from the votes, `(..., O, E)`.
        linear: slots for readings of x.
        quadratic: slots for readings of x².
    """

    def __init__(self, array, centre, linear, quadratic):
        self.array = array
        self.centre = centre
        self._announced = len(linear), len(quadratic)
        self._linear = list(linear)
        self._quadratic = list(quadratic)

    def check_read(self):
        """See `Votes.check_read`."""
        if self._linear or self._quadratic:
            raise self._wrong_number("fewer")

    def _slot(self, slots):
        """The next free slot, for one reading."""
        if not slots:
            raise self._wrong_number("more")
        return slots.pop()

    def _wrong_number(self, received):
        linear, quadratic = self._announced
        return UsageError(
            f"Expected {linear} readings of the votes and {quadratic} of their squares, as many as "
            f"the routing opened them for. Received: {received}"
        )

    def uniform_coupling(self):
        """`c = 1/O`, shape `(..., O, I)`."""
        return ops.full_like(self.array[..., 0], 1.0 / self.array.shape[-3])

    def weighted_sum(self, weights):
        """`s[..., o, :] = Σ_i w[..., o, i] x[..., o, i, :]`, shape `(..., O, E)`."""
        return _weighted_sum(self.array, weights, *self._slot(self._linear))

    def agreement(self, vectors):
        """`l[..., o, i] = x[..., o, i, :] · q[..., o, :]`, shape `(..., O, I)`."""
        return _agreement(self.array, vectors, *self._slot(self._linear))

    def squared_lengths(self):
        """`l[..., o, i] = ‖x[..., o, i, :]‖²`, shape `(..., O, I)`."""
        return _squared_lengths(self.array, *self._slot(self._quadratic))

    @functools.cached_property
    def _squares(self):
        return ops.square(self.array)

    def moments(self, weights):
        """`(Σ_i w x, Σ_i w x²)` over the input capsules, shapes `(..., O, E)`; one reading each."""
        slots = (*self._slot(self._linear), *self._slot(self._quadratic))
        return _moments(self.array, self._squares, weights, *slots)

    def energies(self, linear, quadratic):
        """`l[..., o, i] = Σ_e (q x + p x²)`, q and p `(..., O, E)`; one reading each."""
        slots = (*self._slot(self._linear), *self._slot(self._quadratic))
        return _energies(self.array, self._squares, linear, quadratic, *slots)


def shares_of(weights):
    """Weights `(..., I)` as shares of their sum, which have no gradient; 0 where that is 0."""
    total = ops.sum(weights, axis=-1, keepdims=True)
    return ops.stop_gradient(weights / ops.maximum(total, 1e-30))


# The readings. Votes get nothing here, and the slots get the two factors of their gradient.


@ops.custom_gradient
def _weighted_sum(x, weights, left, right):
    def gradient(*upstream):
        (ds,) = _cotangents(upstream)
        return NOTHING, _dot(x, ds), weights, ds

    return _combine(weights, x), gradient


@ops.custom_gradient
def _agreement(x, vectors, left, right):
    def gradient(*upstream):
        (dl,) = _cotangents(upstream)
        return NOTHING, _combine(dl, x), dl, vectors

    return _dot(x, vectors), gradient


@ops.custom_gradient
def _squared_lengths(x, left, right):
    def gradient(*upstream):
        (dl,) = _cotangents(upstream)
        return NOTHING, dl, ops.ones_like(right)

    return _sum_of_squares(x), gradient


@ops.custom_gradient
def _moments(x, squares, weights, left, right, quadratic_left, quadratic_right):
    def gradient(*upstream):
        first, second = _cotangents(upstream)
        return (
            NOTHING,
            NOTHING,
            _polynomial(x, first, second),
            weights,
            first,
            weights,
            second,
        )

    return (_combine(weights, x), _combine(weights, squares)), gradient


@ops.custom_gradient
def _energies(x, squares, linear, quadratic, left, right, quadratic_left, quadratic_right):
    def gradient(*upstream):
        (dl,) = _cotangents(upstream)
        return (
            NOTHING,
            NOTHING,
            _combine(dl, x),
            _combine(dl, squares),
            dl,
            linear,
            dl,
            quadratic,
        )

    return _polynomial(x, linear, quadratic), gradient


def _zeros_without_inputs(x):
    """Zeros `(..., O, E)` for votes `(..., O, I, E)`, of which there may be none."""
    *leading, _, dim = ops.shape(x)
    return ops.zeros((*leading, dim), x.dtype)


def _combine(weights, x):
    """`Σ_i w x` as a matrix product."""
    return ops.squeeze(ops.matmul(ops.expand_dims(weights, -2), x), -2)


def _cotangents(upstream):
    """The backends give one argument per output, or one tuple."""
    return upstream[0] if isinstance(upstream[0], (tuple, list)) else upstream


def _factors(slots):
    return [left for left, _ in slots], [right for _, right in slots]


def _dot(x, vectors):
    if is_compilation_enabled():
        return _fused_dot(x, vectors)
    return ops.squeeze(ops.matmul(x, ops.expand_dims(vectors, -1)), -1)


@compiled
def _fused_dot(x, vectors):
    return ops.sum(x * ops.expand_dims(vectors, -2), axis=-1)


@compiled
def _sum_of_squares(x):
    return _sum_over_last(ops.square(x))


@compiled
def _polynomial(x, linear, quadratic):
    linear, quadratic = ops.expand_dims(linear, -2), ops.expand_dims(quadratic, -2)
    return _sum_over_last(x * (linear + x * quadratic))


def _sum_over_last(x):
    """`Σ_e x`; where nothing is fused, a product with ones, several times as fast as a sum."""
    if is_compilation_enabled():
        return ops.sum(x, axis=-1)
    return ops.squeeze(ops.matmul(x, ops.ones((x.shape[-1], 1), x.dtype)), -1)


@compiled
def _less_mean(x, shares):
    centre = ops.stop_gradient(ops.sum(x * shares[..., None, :, None], axis=-2))
    return x - ops.expand_dims(centre, -2), centre


@compiled
def _dense_votes(inputs, kernel):
    return _sum_over_dim(inputs, kernel)


@compiled
def _centred_dense_votes(inputs, kernel, shares):
    # Votes are linear, so their sum over the input capsules is one matrix product.
    capsules, count, dim, input_dim = kernel.shape
    flat_kernel = ops.reshape(ops.transpose(kernel, (1, 3, 0, 2)), (count * input_dim, -1))
    flat_inputs = ops.reshape(inputs * shares[..., None], (-1, count * input_dim))
    centre = ops.stop_gradient(
        ops.reshape(ops.matmul(flat_inputs, flat_kernel), (-1, capsules, dim))
    )
    return _sum_over_dim(inputs, kernel) - ops.expand_dims(centre, -2), centre


def _is_fused(kernel):
    """Whether dense votes are one fused sum; operation by operation it would write D arrays."""
    return kernel.shape[-1] < _FUSED_DIMENSIONS and is_compilation_enabled()


def _sum_over_dim(inputs, kernel):
    """`Σ_d u[b,i,d] W[o,i,e,d]`, a sum of D products with contiguous (O, I, E) arrays."""
    kernel = ops.transpose(kernel, (3, 0, 1, 2))
    return sum(inputs[:, None, :, d, None] * kernel[d] for d in range(kernel.shape[0]))


@compiled
def _sum_of_products(x, lefts, rights, quadratic_lefts, quadratic_rights):
    """`Σ left ⊗ right + 2x Σ left ⊗ right`, shape `(..., O, I, E)`."""

    def outer(left, right):
        return left[..., None] * ops.expand_dims(right, -2)

    gradient = sum(map(outer, lefts, rights))
    if quadratic_lefts:
        gradient = gradient + 2.0 * x * sum(map(outer, quadratic_lefts, quadratic_rights))
    return gradient


@compiled
def _transposed_sum_of_products(lefts, rights):
    """`Σ left ⊗ right` of `(B, O, I)` and `(B, O, E)`, as `(I, B, O, E)` at once."""
    return sum(
        ops.transpose(left, (2, 0, 1))[..., None] * right
        for left, right in zip(lefts, rights, strict=True)
    )
