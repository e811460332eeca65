"""How a run looks while it runs: live bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from limbeck.pipeline.events import Advanced, Ended, Event, Noted, Started

_PLAIN_SECONDS = 10.0


def watch(events: Iterable[Event], *, console: Console | None = None) -> None:
    """Go through a run's events and show them on standard error."""
    place = console or Console(stderr=True)
    if place.is_terminal:
        _live(events, place)
    else:
        _plain(events)


def _live(events: Iterable[Event], console: Console) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[facts]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bars: dict[str, TaskID] = {}
        for event in events:
            if isinstance(event, Advanced):
                if event.job not in bars:
                    bars[event.job] = progress.add_task(event.job, total=event.total, facts="")
                progress.update(bars[event.job], completed=event.done, total=event.total, facts=_facts(event))
                if event.done >= event.total:
                    progress.remove_task(bars.pop(event.job))
                continue
            for bar in bars.values() if isinstance(event, Ended) else ():
                progress.remove_task(bar)
            if isinstance(event, Ended):
                bars.clear()
            style = "yellow" if isinstance(event, Noted) and event.warning else None
            progress.console.print(line(event), style=style, highlight=False, markup=False)


def _plain(events: Iterable[Event]) -> None:
    shown: dict[str, float] = {}
    console = Console(stderr=True, no_color=True, highlight=False, soft_wrap=True)
    for event in events:
        if isinstance(event, Advanced) and not _due(event, shown):
            continue
        console.print(line(event), markup=False)


def _due(event: Advanced, shown: dict[str, float]) -> bool:
    """Whether a plain line is worth printing: at a job's end, and every few seconds."""
    now = time.monotonic()
    if event.done < event.total and now - shown.get(event.job, 0.0) < _PLAIN_SECONDS:
        return False
    shown[event.job] = now
    return True


def line(event: Event) -> str:
    """An event in one line of text."""
    match event:
        case Started():
            return f"{event.stage} ..."
        case Ended():
            done = "found finished" if event.reused else f"done in {event.seconds:.1f} s"
            return f"{event.stage} {done}"
        case Noted():
            return f"  {'warning: ' if event.warning else ''}{event.text}"
        case Advanced():
            return f"  {event.job} {event.done}/{event.total} {_facts(event)}".rstrip()


def _facts(event: Advanced) -> str:
    losses = " ".join(f"{name} {value:.4f}" for name, value in event.losses.items())
    speed = f"{event.examples_per_second:,.0f} examples/s" if event.examples_per_second else ""
    return f"{losses} {speed}".strip()
