"""Limbeck distils a large model into a small one that can be shipped, and proves what was kept."""

from limbeck import environment as environment

# isort: split

from limbeck.cli.watching import watch as watch
from limbeck.data import Augmentation as Augmentation
from limbeck.data import Preprocessing as Preprocessing
from limbeck.errors import GateError as GateError
from limbeck.errors import LimbeckError as LimbeckError
from limbeck.errors import RunError as RunError
from limbeck.errors import UserError as UserError
from limbeck.methods import CE as CE
from limbeck.methods import KD as KD
from limbeck.methods import Method as Method
from limbeck.methods import PseudoLabel as PseudoLabel
from limbeck.models import MLP as MLP
from limbeck.models import Linear as Linear
from limbeck.models import Residual as Residual
from limbeck.models import Separable as Separable
from limbeck.models import shrink as shrink
from limbeck.pipeline.distill import distill as distill
from limbeck.pipeline.distill import load as load
from limbeck.pipeline.distill import run as run
from limbeck.recipe import SGD as SGD
from limbeck.recipe import AdamW as AdamW
from limbeck.recipe import Choice as Choice
from limbeck.recipe import Cosine as Cosine
from limbeck.recipe import Evaluation as Evaluation
from limbeck.recipe import Exports as Exports
from limbeck.recipe import OneCycle as OneCycle
from limbeck.recipe import Plan as Plan
from limbeck.recipe import Training as Training
from limbeck.taps import layers as layers
from limbeck.taps import tap as tap
from limbeck.training import distilling as distilling
from limbeck.version import VERSION as VERSION
