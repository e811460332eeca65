"""Who answers: a teacher turns a batch into outputs, live from a model or from answers kept on disk."""

from limbeck.teachers.acceptance import check_classes as check_classes
from limbeck.teachers.ensemble import Ensemble as Ensemble
from limbeck.teachers.live import LiveTeacher as LiveTeacher
from limbeck.teachers.live import as_teacher as as_teacher
from limbeck.teachers.stored import StoredTeacher as StoredTeacher
