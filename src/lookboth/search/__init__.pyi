from .candidates import FOUND as FOUND
from .evidence import Evidence as Evidence, PlanScore as PlanScore, read_evidence as read_evidence
