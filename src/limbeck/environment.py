"""How native libraries shall behave; has to be said before the first of them is loaded.

Threads that wait for work sleep instead of spinning: beside another busy process that is half again as fast,
and alone it costs nothing that could be measured.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
