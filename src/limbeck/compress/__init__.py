"""A student in, a smaller or quicker student out."""

from limbeck.compress.compact import compact as compact
from limbeck.compress.operators import operators as operators
from limbeck.compress.operators import quantised_operators as quantised_operators
from limbeck.compress.quantize import quantize as quantize
