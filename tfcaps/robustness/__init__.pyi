from .attacks import attacked_images as attacked_images
from .gradient_descent import projected_gradient_descent as projected_gradient_descent
from .robust_training import (
    cross_entropy as cross_entropy,
    train_on_attacked_images as train_on_attacked_images,
)
