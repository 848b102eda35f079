from .attack import accuracy_under_attack as accuracy_under_attack
from .attack import attack_table as attack_table
from .report import evaluate as evaluate
from .report import table as table
from .subject import Subject as Subject
from .subject import load_subject as load_subject
