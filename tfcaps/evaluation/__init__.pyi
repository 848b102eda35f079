from .attack import accuracy_under_attack as accuracy_under_attack, attack_table as attack_table
from .report import evaluate as evaluate, table as table
from .subject import Subject as Subject, load_subject as load_subject
