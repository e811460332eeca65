"""What a run depends on, written down: read from YAML, checked whole, and written back resolved."""

from limbeck.recipe.assistant import Assistant as Assistant
from limbeck.recipe.exports import Exports as Exports
from limbeck.recipe.keeping import Taps as Taps
from limbeck.recipe.loading import dump as dump
from limbeck.recipe.loading import json_schema as json_schema
from limbeck.recipe.loading import load as load
from limbeck.recipe.plan import Asking as Asking
from limbeck.recipe.plan import Execution as Execution
from limbeck.recipe.plan import Plan as Plan
from limbeck.recipe.presets import PRESETS as PRESETS
from limbeck.recipe.presets import preset as preset
from limbeck.recipe.schema import Control as Control
from limbeck.recipe.schema import Epochs as Epochs
from limbeck.recipe.schema import Evaluation as Evaluation
from limbeck.recipe.schema import Gate as Gate
from limbeck.recipe.schema import Recipe as Recipe
from limbeck.recipe.schema import StudentRecipe as StudentRecipe
from limbeck.recipe.schema import TeacherRecipe as TeacherRecipe
from limbeck.recipe.schema import Views as Views
from limbeck.recipe.training import SGD as SGD
from limbeck.recipe.training import AdamW as AdamW
from limbeck.recipe.training import Cosine as Cosine
from limbeck.recipe.training import OneCycle as OneCycle
from limbeck.recipe.training import Training as Training
from limbeck.recipe.tuning import Choice as Choice
