from .lookahead import Lookahead as Lookahead
from .rectified_adam import RectifiedAdam as RectifiedAdam
from .warm_up import WarmUp as WarmUp
