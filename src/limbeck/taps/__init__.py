"""Read any layer of any module: what there is to read, what it is called, and reading it."""

from limbeck.taps.compiled import Compiled as Compiled
from limbeck.taps.compiled import refuse_uncompilable as refuse_uncompilable
from limbeck.taps.pairing import by_depth as by_depth
from limbeck.taps.pairing import paired_stages as paired_stages
from limbeck.taps.places import attention as attention
from limbeck.taps.places import keys_beside as keys_beside
from limbeck.taps.places import penultimate as penultimate
from limbeck.taps.places import places as places
from limbeck.taps.places import shape_at as shape_at
from limbeck.taps.places import stages as stages
from limbeck.taps.reading import INPUT as INPUT
from limbeck.taps.reading import tap as tap
from limbeck.taps.tracing import Layer as Layer
from limbeck.taps.tracing import axes as axes
from limbeck.taps.tracing import layers as layers
from limbeck.taps.wrapped import is_compiled as is_compiled
from limbeck.taps.wrapped import unwrapped as unwrapped
