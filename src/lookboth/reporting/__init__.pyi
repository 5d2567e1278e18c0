from .report import write_report as write_report
from .review_page import render_review_page as render_review_page, write_review_page as write_review_page
