from .candidates import SEARCHED_KEYS as SEARCHED_KEYS
from .evidence import Evidence as Evidence, PlanScore as PlanScore, read_evidence as read_evidence
