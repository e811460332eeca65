"""A teacher that is not there any more: its answers are read from a store."""

from __future__ import annotations

from limbeck.teachers.store.reader import Store
from limbeck.types import Batch, Offer, Outputs


class StoredTeacher:
    """The answers in a store, as a teacher. It reads a batch's ids and views, never its inputs.

    Args:
        store: A complete one. For the clean view, batches are asked with the view ``CLEAN``.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._offer = Offer(classes=store.key.classes, reads_inputs=False)

    @property
    def offer(self) -> Offer:
        """Dense logits, from ids and views alone."""
        return self._offer

    @property
    def digest(self) -> str:
        """The digest of the teacher that was asked."""
        return self.store.key.teacher

    def __call__(self, batch: Batch) -> Outputs:
        """float32 logits, where the batch's ids are.

        Raises:
            StoreError: If a sample or a view is not in the store.
        """
        return Outputs(self.store.answers(batch.ids, batch.views))
