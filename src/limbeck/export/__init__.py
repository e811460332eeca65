"""Write a student, and check that it answers the same."""

from limbeck.export.deployed import Deployed as Deployed
from limbeck.export.onnx import write_onnx as write_onnx
from limbeck.export.program import traced as traced
from limbeck.export.program import write_program as write_program
from limbeck.export.runtime import Runner as Runner
from limbeck.export.runtime import onnx_engine as onnx_engine
from limbeck.export.runtime import open_module as open_module
from limbeck.export.runtime import open_onnx as open_onnx
from limbeck.export.runtime import open_program as open_program
from limbeck.export.write import FILES as FILES
from limbeck.export.write import ExportRecord as ExportRecord
from limbeck.export.write import export_student as export_student
from limbeck.export.write import exportable as exportable
