"""A teacher's answers on disk: asked once, checked, resumed after a kill, read by sample id."""

from limbeck.teachers.store.inventory import Summary as Summary
from limbeck.teachers.store.inventory import inspect as inspect
from limbeck.teachers.store.inventory import list_stores as list_stores
from limbeck.teachers.store.inventory import remove as remove
from limbeck.teachers.store.keeping import Keep as Keep
from limbeck.teachers.store.kept_error import KeptError as KeptError
from limbeck.teachers.store.key import FixedViews as FixedViews
from limbeck.teachers.store.key import StoreKey as StoreKey
from limbeck.teachers.store.key import differences as differences
from limbeck.teachers.store.key import store_key as store_key
from limbeck.teachers.store.kinds import DenseAnswers as DenseAnswers
from limbeck.teachers.store.kinds import Embeddings as Embeddings
from limbeck.teachers.store.kinds import Features as Features
from limbeck.teachers.store.kinds import Values as Values
from limbeck.teachers.store.labelling import Progress as Progress
from limbeck.teachers.store.labelling import label as label
from limbeck.teachers.store.reader import Store as Store
from limbeck.teachers.store.reader import open_store as open_store
from limbeck.teachers.store.sparse_kinds import SampledAnswers as SampledAnswers
from limbeck.teachers.store.sparse_kinds import TopKAnswers as TopKAnswers
from limbeck.teachers.store.sparse_kinds import TopKSampledAnswers as TopKSampledAnswers
from limbeck.teachers.store.text import Text as Text
from limbeck.teachers.store.verification import Verification as Verification
from limbeck.teachers.store.verification import verify as verify
