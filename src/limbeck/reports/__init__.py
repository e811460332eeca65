"""What a run found, as data, as a page, and as a model card."""

from limbeck.reports.card import write_card as write_card
from limbeck.reports.comparison import write_comparison as write_comparison
from limbeck.reports.page import write_page as write_page
from limbeck.reports.record import report_schema as report_schema
from limbeck.reports.record import write_report as write_report
from limbeck.reports.schema import SCHEMA as SCHEMA
from limbeck.reports.schema import Asked as Asked
from limbeck.reports.schema import AssistantResult as AssistantResult
from limbeck.reports.schema import Bin as Bin
from limbeck.reports.schema import ClassResult as ClassResult
from limbeck.reports.schema import Control as Control
from limbeck.reports.schema import Curve as Curve
from limbeck.reports.schema import Efficiency as Efficiency
from limbeck.reports.schema import Estimate as Estimate
from limbeck.reports.schema import ExportResult as ExportResult
from limbeck.reports.schema import Lost as Lost
from limbeck.reports.schema import ModelResult as ModelResult
from limbeck.reports.schema import Report as Report
from limbeck.reports.schema import Retention as Retention
from limbeck.reports.schema import SeedResult as SeedResult
from limbeck.reports.schema import TeacherResult as TeacherResult
from limbeck.reports.schema import Verdict as Verdict
