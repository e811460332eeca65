"""Teachers and students: families that a recipe can name, and any module of the user's own."""

from limbeck.models.architecture import Architecture as Architecture
from limbeck.models.architecture import Network as Network
from limbeck.models.config import AnyModel as AnyModel
from limbeck.models.config import kinds as kinds
from limbeck.models.ensemble import EnsembleModel as EnsembleModel
from limbeck.models.ensemble import Member as Member
from limbeck.models.folding import Folded as Folded
from limbeck.models.folding import foldable as foldable
from limbeck.models.folding import folded as folded
from limbeck.models.inspection import check_answers as check_answers
from limbeck.models.inspection import count_parameters as count_parameters
from limbeck.models.inspection import state_digest as state_digest
from limbeck.models.linear import Linear as Linear
from limbeck.models.mlp import MLP as MLP
from limbeck.models.python import PythonModel as PythonModel
from limbeck.models.residual import Residual as Residual
from limbeck.models.saving import load_student as load_student
from limbeck.models.saving import save_student as save_student
from limbeck.models.separable import Separable as Separable
from limbeck.models.shrink import shrink as shrink
from limbeck.models.together import Together as Together
from limbeck.models.vit import ViT as ViT
from limbeck.models.weights import load_weights as load_weights
from limbeck.models.weights import read_weights as read_weights
