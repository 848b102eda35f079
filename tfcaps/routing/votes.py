"""Votes, and the few operations on them that routings are made of.

A routing reads the votes several times an iteration. Differentiated one by one, each reading
would write a gradient as large as the votes. But with x the votes of one sample, all that routings
do is of the forms

    Σ_i w_i x_i      Σ_i w_i x_i²      x_i · q      x_i² · p

whose gradients are outer products, `w ⊗ ds`, `2x (w ⊗ ds)`, `dl ⊗ q`, `2x (dl ⊗ p)`. So each
reading only hands its two factors to a *slot*, and `Votes.open` adds up the slots' products in one
pass at the very end of the backward computation: a slot is a pair of zeros that `open` gives out
and that a reading takes as arguments, with its factors as their "gradients".
"""

import abc

from keras import ops

from tfcaps.ops import compiled

# From this input dimension on a matrix product per input capsule beats a fused sum of products.
_FUSED_DIMENSIONS = 16


class Votes(abc.ABC):
    """Votes `û` of shape `(..., O, I, E)` in float32, made from one or more tensors.

    Args:
        tensors: what the votes are computed from.
        shape: `(..., O, I, E)`; only the last three sizes are used.
    """

    def __init__(self, tensors, shape):
        self.tensors = tuple(ops.cast(tensor, "float32") for tensor in tensors)
        self.output_capsules, self.input_capsules, self.dim = shape[-3:]

    @abc.abstractmethod
    def _materialize(self, *tensors):
        """The array of votes."""

    @abc.abstractmethod
    def _pull_back(self, tensors, x, linear, quadratic):
        """Gradients for the tensors, from x as it was read and the factors in the slots."""

    def open(self, *, linear, quadratic=0, centred=False):
        """Materialises the votes for reading.

        Args:
            linear: how many readings of x there will be.
            quadratic: how many readings of x² there will be. Default 0.
            centred: whether x is û less its mean over the input capsules, which then is taken for
                a constant, and not û itself. Default False.

        Returns:
            `OpenVotes`.
        """
        count = linear + quadratic

        def materialize(*tensors):
            x = self._materialize(*tensors)
            centre = ops.zeros_like(x[..., 0, :])
            if centred:
                centre = ops.mean(x, axis=-2)
                x = x - ops.expand_dims(centre, -2)
            lefts = [ops.zeros_like(x[..., 0]) for _ in range(count)]
            rights = [ops.zeros_like(centre) for _ in range(count)]

            def gradient(*upstream):
                _, _, *factors = _cotangents(upstream)
                slots = list(zip(factors[:count], factors[count:], strict=True))
                return self._pull_back(tensors, x, slots[:linear], slots[linear:])

            return (x, centre, *lefts, *rights), gradient

        x, centre, *factors = ops.custom_gradient(materialize)(*self.tensors)
        slots = list(zip(factors[:count], factors[count:], strict=True))
        return OpenVotes(
            ops.stop_gradient(x), ops.stop_gradient(centre), slots[:linear], slots[linear:]
        )


class ArrayVotes(Votes):
    """Votes that are there as an array.

    Args:
        votes: `(..., O, I, E)`.
    """

    def __init__(self, votes):
        super().__init__((votes,), votes.shape)

    def _materialize(self, votes):
        return votes

    def _pull_back(self, tensors, x, linear, quadratic):
        return _sum_of_products(x, *_factors(linear), *_factors(quadratic))


class DenseVotes(Votes):
    """Votes `û[b,o,i] = W[o,i] u[b,i]` of dense capsules.

    Args:
        inputs: capsules u, `(B, I, D)`.
        kernel: W, `(O, I, E, D)`.
    """

    def __init__(self, inputs, kernel):
        super().__init__((inputs, kernel), kernel.shape[:3])

    def _materialize(self, inputs, kernel):
        if kernel.shape[-1] < _FUSED_DIMENSIONS:
            return _dense_votes(inputs, kernel)
        return ops.einsum("bid,oied->boie", inputs, kernel)

    def _pull_back(self, tensors, x, linear, quadratic):
        inputs, kernel = tensors
        count, dim = self.input_capsules, kernel.shape[-1]
        # (I, B, O·E): one matrix product per input capsule gives each of the two gradients.
        gradient = ops.reshape(
            _sum_of_products_input_first(x, *_factors(linear), *_factors(quadratic)),
            (count, -1, self.output_capsules * self.dim),
        )
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
        self._squares = ops.square(array) if quadratic else None
        self._linear = linear
        self._quadratic = quadratic

    def uniform_coupling(self):
        """`c = 1/O`, shape `(..., O, I)`."""
        return ops.full_like(self.array[..., 0], 1.0 / self.array.shape[-3])

    def weighted_sum(self, weights):
        """`s[..., o, :] = Σ_i w[..., o, i] x[..., o, i, :]`, shape `(..., O, E)`."""
        return _weighted_sum(self.array, weights, *self._linear.pop())

    def weighted_squares(self, weights):
        """`s[..., o, :] = Σ_i w[..., o, i] x[..., o, i, :]²`, shape `(..., O, E)`."""
        return _weighted_sum(self._squares, weights, *self._quadratic.pop())

    def agreement(self, vectors):
        """`l[..., o, i] = x[..., o, i, :] · q[..., o, :]`, shape `(..., O, I)`."""
        return _agreement(self.array, vectors, *self._linear.pop())

    def squares_agreement(self, vectors):
        """`l[..., o, i] = x[..., o, i, :]² · p[..., o, :]`, shape `(..., O, I)`."""
        return _agreement(self._squares, vectors, *self._quadratic.pop())


@ops.custom_gradient
def _weighted_sum(x, weights, left, right):
    def gradient(*upstream):
        (ds,) = _cotangents(upstream)
        return ops.zeros_like(x), _dot(x, ds), weights, ds

    return ops.squeeze(ops.matmul(ops.expand_dims(weights, -2), x), -2), gradient


@ops.custom_gradient
def _agreement(x, vectors, left, right):
    def gradient(*upstream):
        (dl,) = _cotangents(upstream)
        ds = ops.squeeze(ops.matmul(ops.expand_dims(dl, -2), x), -2)
        return ops.zeros_like(x), ds, dl, vectors

    return _dot(x, vectors), gradient


def _cotangents(upstream):
    """The backends give one argument per output, or one tuple."""
    return upstream[0] if isinstance(upstream[0], (tuple, list)) else upstream


def _factors(slots):
    return [left for left, _ in slots], [right for _, right in slots]


@compiled
def _dot(x, vectors):
    return ops.sum(x * ops.expand_dims(vectors, -2), axis=-1)


@compiled
def _dense_votes(inputs, kernel):
    # A sum over D of products with contiguous (O, I, E) arrays.
    kernel = ops.transpose(kernel, (3, 0, 1, 2))
    return sum(
        inputs[:, None, :, d, None] * kernel[d] for d in range(kernel.shape[0])
    )


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
def _sum_of_products_input_first(x, lefts, rights, quadratic_lefts, quadratic_rights):
    """The same for `(B, O, I, E)`, transposed to `(I, B, O, E)` on the way."""

    def outer(left, right):
        return ops.transpose(left, (2, 0, 1))[..., None] * right

    gradient = sum(map(outer, lefts, rights))
    if quadratic_lefts:
        twice = 2.0 * ops.transpose(x, (2, 0, 1, 3))
        gradient = gradient + twice * sum(map(outer, quadratic_lefts, quadratic_rights))
    return gradient
