"""Images that are changed on purpose: attacks, and training against them."""

from tfcaps.robustness.projected_gradient_descent import projected_gradient_descent
from tfcaps.robustness.robust_training import cross_entropy, train_on_attacked_images

__all__ = ["cross_entropy", "projected_gradient_descent", "train_on_attacked_images"]
