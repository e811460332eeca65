"""Who answers: a teacher turns a batch into outputs, live from a model or from answers kept on disk."""

from limbeck.teachers.acceptance import check_classes as check_classes
from limbeck.teachers.asking import RemoteTeacher as RemoteTeacher
from limbeck.teachers.asking import asked as asked
from limbeck.teachers.ensemble import Ensemble as Ensemble
from limbeck.teachers.folds import OutOfFold as OutOfFold
from limbeck.teachers.folds import fold_of as fold_of
from limbeck.teachers.folds import outside_fold as outside_fold
from limbeck.teachers.limits import Limits as Limits
from limbeck.teachers.limits import Spent as Spent
from limbeck.teachers.live import LiveTeacher as LiveTeacher
from limbeck.teachers.live import as_teacher as as_teacher
from limbeck.teachers.stored import StoredTeacher as StoredTeacher
