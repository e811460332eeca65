"""The one training loop: from a state and a stream of batches to steps."""

from limbeck.training.checkpoint import load as load
from limbeck.training.checkpoint import remove as remove
from limbeck.training.checkpoint import save as save
from limbeck.training.loop import Step as Step
from limbeck.training.loop import train as train
from limbeck.training.measure import Measured as Measured
from limbeck.training.measure import measure_plan as measure_plan
from limbeck.training.own_loop import Distilling as Distilling
from limbeck.training.own_loop import distilling as distilling
from limbeck.training.precision import executing as executing
from limbeck.training.precision import laid_out as laid_out
from limbeck.training.preflight import Estimate as Estimate
from limbeck.training.preflight import estimate as estimate
from limbeck.training.preflight import gradient_conflict as gradient_conflict
from limbeck.training.preflight import gradient_share as gradient_share
from limbeck.training.state import TrainState as TrainState
from limbeck.training.state import start as start
