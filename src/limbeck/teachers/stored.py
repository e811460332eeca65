"""A teacher that is not there any more: its answers are read from a store."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from limbeck.errors import TeacherError
from limbeck.teachers.store.reader import Store
from limbeck.types import Batch, Offer, Outputs


class StoredTeacher:
    """The answers in a store, as a teacher. It reads a batch's ids and views, never its inputs.

    Args:
        store: A complete one. For the clean view, batches are asked with the view ``CLEAN``.
        module: The model that was asked, where it is at hand, for methods that name its layers or read its
            parameters; no answer is made with it.
        taps: Which of the layers that the store holds are read along; by default all.

    Raises:
        TeacherError: If the store does not hold such a layer.
    """

    def __init__(
        self, store: Store, *, module: nn.Module | None = None, taps: Sequence[str] | None = None
    ) -> None:
        self.store, self._module = store, module
        held = store.key.keep.names
        chosen = held if taps is None else tuple(taps)
        missing = [name for name in chosen if name not in held]
        if missing:
            raise TeacherError(
                f"{', '.join(missing)} of the teacher is read, and the store {store.folder.path.name} holds "
                f"{', '.join(held) or 'no layer'} beside the answers. Name it in teacher.keep_taps and label again, "
                "or leave keep_taps out: the model itself is then asked while the student trains."
            )
        self._offer = Offer(
            classes=store.key.classes,
            taps=chosen,
            few=store.key.keep.answers.few(store.key.classes),
            reads_inputs=False,
            module=module,
            tapping=self._tapping,
        )

    @property
    def offer(self) -> Offer:
        """What the store keeps of each answer, from ids and views alone."""
        return self._offer

    @property
    def digest(self) -> str:
        """The digest of the teacher that was asked."""
        return self.store.key.teacher

    def __call__(self, batch: Batch) -> Outputs:
        """What is kept, in float32, where the batch's ids are.

        Raises:
            StoreError: If a sample or a view is not in the store.
        """
        return self.store.outputs(batch.ids, batch.views, self._offer.taps)

    def _tapping(self, taps: Sequence[str]) -> StoredTeacher:
        return StoredTeacher(self.store, module=self._module, taps=taps)
