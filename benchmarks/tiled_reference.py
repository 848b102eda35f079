"""Plain dense capsule layers that tile votes and weights, as the first published programs did.

Float32, TensorFlow operations only, no custom gradient. They are what the package's speed is
measured against, and nothing else.
"""

import math

import tensorflow as tf

EPSILON = 1e-8


def votes(inputs, kernel):
    """(B, I, D) and (O, I, E, D) → (B, O, I, E) through two tiled (B, O, I, E, D) arrays."""
    capsules, _, dim, _ = kernel.shape
    tiled_inputs = tf.tile(inputs[:, None, :, None, :], [1, capsules, 1, dim, 1])
    tiled_kernel = tf.tile(kernel[None], [tf.shape(inputs)[0], 1, 1, 1, 1])
    return tf.reduce_sum(tiled_inputs * tiled_kernel, axis=-1)


def squash(s):
    squared = tf.reduce_sum(tf.square(s), axis=-1, keepdims=True) + EPSILON
    return squared / (1.0 + squared) * s / tf.sqrt(squared)


def over_dim(c, dim):
    """(B, O, I) → (B, O, I, E)."""
    return tf.tile(c[..., None], [1, 1, 1, dim])


def over_inputs(v, count):
    """(B, O, E) → (B, O, I, E)."""
    return tf.tile(v[:, :, None], [1, 1, count, 1])


def rba(inputs, kernel, bias, iterations):
    u = votes(inputs, kernel)
    count, dim = u.shape[2:]
    logits = tf.zeros_like(u[..., 0])
    for iteration in range(iterations):
        coupling = tf.nn.softmax(logits, axis=1)
        v = squash(tf.reduce_sum(over_dim(coupling, dim) * u, axis=2) + bias)
        if iteration < iterations - 1:
            logits += tf.reduce_sum(u * over_inputs(v, count), axis=-1)
    return v


def em(inputs, kernel, bias, iterations, beta_a, beta_u):
    u = votes(inputs, kernel) + bias[:, None]
    count, dim = u.shape[2:]
    lengths = tf.norm(inputs, axis=-1)[:, None]
    coupling = tf.ones_like(u[..., 0]) / u.shape[1]
    for iteration in range(1, iterations + 1):
        weights = coupling * lengths
        tiled = over_dim(weights, dim)
        total = tf.reduce_sum(tiled, axis=2) + EPSILON
        mean = tf.reduce_sum(tiled * u, axis=2) / total
        offsets = tf.square(u - over_inputs(mean, count))
        variance = tf.reduce_sum(tiled * offsets, axis=2) / total + 1e-4
        cost = tf.reduce_sum(beta_u[:, None] + tf.math.log(variance), axis=-1)
        cost *= tf.reduce_sum(weights, axis=-1)
        logit = 0.01 * (1.0 - 0.95**iteration) * (beta_a - cost)
        if iteration < iterations:
            log_density = -tf.reduce_sum(
                offsets / (2.0 * over_inputs(variance, count))
                + 0.5 * tf.math.log(over_inputs(variance, count)),
                axis=-1,
            )
            coupling = tf.nn.softmax(tf.math.log_sigmoid(logit)[..., None] + log_density, axis=1)
    return tf.sigmoid(logit)[..., None] * mean / tf.norm(mean, axis=-1, keepdims=True)


def sda(inputs, kernel, bias, iterations):
    u = votes(inputs, kernel)
    count, dim = u.shape[2:]
    longest = tf.norm(inputs, axis=-1)[:, None]
    u *= over_dim(tf.minimum(1.0, longest / tf.norm(u, axis=-1)), dim)
    odds = math.log(0.9 * (u.shape[1] - 1)) - math.log(0.1)
    logits = tf.zeros_like(u[..., 0])
    for iteration in range(iterations):
        coupling = tf.nn.softmax(logits, axis=1)
        v = squash(tf.reduce_sum(over_dim(coupling, dim) * u, axis=2) + bias)
        if iteration < iterations - 1:
            distance = tf.norm(over_inputs(v, count) - u, axis=-1)
            mean_distance = tf.reduce_mean(distance, axis=[1, 2], keepdims=True)
            logits = odds / (0.5 * mean_distance - mean_distance) * distance
    return v
