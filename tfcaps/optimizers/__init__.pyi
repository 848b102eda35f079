from .lookahead import Lookahead as Lookahead
from .rectified_adam import RectifiedAdam as RectifiedAdam
