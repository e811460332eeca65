"""How answers are compared: one paper, one file."""

from limbeck.methods.algebra import Sum as Sum
from limbeck.methods.algebra import parts as parts
from limbeck.methods.base import Method as Method
from limbeck.methods.base import Reads as Reads
from limbeck.methods.base import total as total
from limbeck.methods.ce import CE as CE
from limbeck.methods.kd import KD as KD
from limbeck.methods.pseudo_label import PseudoLabel as PseudoLabel
from limbeck.methods.table import METHODS as METHODS
from limbeck.methods.table import AnyMethod as AnyMethod
from limbeck.methods.table import catalogue as catalogue
from limbeck.methods.table import dump as dump
from limbeck.methods.table import parse as parse
