"""Every method that a recipe can name, and how a composed one is read and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from pydantic import GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

from limbeck.errors import MethodError, nearest
from limbeck.methods.adaptive_kl import AdaptiveKL
from limbeck.methods.algebra import Sum, parts
from limbeck.methods.alignment import Alignment
from limbeck.methods.alpha_beta import AlphaBeta
from limbeck.methods.attention_scores import AttentionScores
from limbeck.methods.attention_transfer import AttentionTransfer
from limbeck.methods.balance import Balance
from limbeck.methods.base import Method
from limbeck.methods.branches import Branches
from limbeck.methods.ce import CE
from limbeck.methods.channel_correlation import ChannelCorrelation
from limbeck.methods.channels import Channels
from limbeck.methods.class_pairs import ClassPairs
from limbeck.methods.confident_teachers import ConfidentTeachers
from limbeck.methods.congruence import Congruence
from limbeck.methods.contrastive import Contrastive
from limbeck.methods.contrastive_bank import ContrastiveBank
from limbeck.methods.correlation import Correlation
from limbeck.methods.ctc import CTC
from limbeck.methods.ctc_frames import CTCFrames
from limbeck.methods.ctc_sequence import CTCSequence
from limbeck.methods.decoupled_kd import DecoupledKD
from limbeck.methods.deit import DeiT
from limbeck.methods.ema import EMA
from limbeck.methods.exits import Exits
from limbeck.methods.gaussian import Gaussian
from limbeck.methods.head_regression import HeadRegression
from limbeck.methods.hidden_cosine import HiddenCosine
from limbeck.methods.hint import Hint
from limbeck.methods.importance import Importance
from limbeck.methods.jensen_shannon import JensenShannon
from limbeck.methods.kd import KD
from limbeck.methods.learned_temperature import LearnedTemperature
from limbeck.methods.learning_without_forgetting import LwF
from limbeck.methods.list_net import ListNet
from limbeck.methods.logit_mse import LogitMSE
from limbeck.methods.margin_mse import MarginMSE
from limbeck.methods.masked import Masked
from limbeck.methods.multi_label import MultiLabel
from limbeck.methods.mutual import Mutual
from limbeck.methods.neighbours import Neighbours
from limbeck.methods.normalised_kd import NormalisedKD
from limbeck.methods.online_ensemble import OnlineEnsemble
from limbeck.methods.ordinal import Ordinal
from limbeck.methods.overhaul import Overhaul
from limbeck.methods.past_self import PastSelf
from limbeck.methods.patient import Patient
from limbeck.methods.pseudo_label import PseudoLabel
from limbeck.methods.regression import Regression
from limbeck.methods.relational import Relational
from limbeck.methods.replay import Replay
from limbeck.methods.reuse import Reuse
from limbeck.methods.reverse_kl import ReverseKL
from limbeck.methods.review import Review
from limbeck.methods.sample_weights import SampleWeights
from limbeck.methods.sampled import Sampled
from limbeck.methods.schedule import Schedule
from limbeck.methods.selectivity import Selectivity
from limbeck.methods.similarity import Similarity
from limbeck.methods.skew_kl import SkewKL
from limbeck.methods.skew_reverse_kl import SkewReverseKL
from limbeck.methods.standardise import Standardise
from limbeck.methods.temperature_schedule import TemperatureSchedule
from limbeck.methods.token_relations import TokenRelations
from limbeck.methods.top_k import TopK
from limbeck.methods.total_variation import TotalVariation
from limbeck.methods.variational import Variational
from limbeck.methods.virtual_teacher import VirtualTeacher
from limbeck.methods.warm_up import WarmUp
from limbeck.methods.wrapping import leaves
from limbeck.methods.wsld import WSLD

METHODS: Mapping[str, type[Method]] = {
    "adaptive-kl": AdaptiveKL,
    "alignment": Alignment,
    "alpha-beta": AlphaBeta,
    "attention-scores": AttentionScores,
    "attention-transfer": AttentionTransfer,
    "balance": Balance,
    "branches": Branches,
    "ce": CE,
    "channel-correlation": ChannelCorrelation,
    "channels": Channels,
    "class-pairs": ClassPairs,
    "confident-teachers": ConfidentTeachers,
    "congruence": Congruence,
    "contrastive": Contrastive,
    "contrastive-bank": ContrastiveBank,
    "correlation": Correlation,
    "ctc": CTC,
    "ctc-frames": CTCFrames,
    "ctc-sequence": CTCSequence,
    "decoupled-kd": DecoupledKD,
    "deit": DeiT,
    "ema": EMA,
    "exits": Exits,
    "gaussian": Gaussian,
    "head-regression": HeadRegression,
    "hidden-cosine": HiddenCosine,
    "hint": Hint,
    "importance": Importance,
    "jensen-shannon": JensenShannon,
    "kd": KD,
    "learned-temperature": LearnedTemperature,
    "learning-without-forgetting": LwF,
    "list-net": ListNet,
    "logit-mse": LogitMSE,
    "margin-mse": MarginMSE,
    "masked": Masked,
    "multi-label": MultiLabel,
    "mutual": Mutual,
    "neighbours": Neighbours,
    "normalised-kd": NormalisedKD,
    "online-ensemble": OnlineEnsemble,
    "ordinal": Ordinal,
    "overhaul": Overhaul,
    "past-self": PastSelf,
    "patient": Patient,
    "pseudo-label": PseudoLabel,
    "regression": Regression,
    "relational": Relational,
    "replay": Replay,
    "reuse": Reuse,
    "reverse-kl": ReverseKL,
    "review": Review,
    "sample-weights": SampleWeights,
    "sampled": Sampled,
    "schedule": Schedule,
    "selectivity": Selectivity,
    "similarity": Similarity,
    "skew-kl": SkewKL,
    "skew-reverse-kl": SkewReverseKL,
    "standardise": Standardise,
    "temperature-schedule": TemperatureSchedule,
    "token-relations": TokenRelations,
    "top-k": TopK,
    "total-variation": TotalVariation,
    "variational": Variational,
    "virtual-teacher": VirtualTeacher,
    "warm-up": WarmUp,
    "wsld": WSLD,
}


def dump(method: Method) -> list[dict[str, Any]]:
    """A method as plain data: ``{name: hyperparameters}`` for each part; :func:`parse` makes its equal.

    Raises:
        MethodError: If a part is not in :data:`METHODS`, so that no recipe can name it.
    """
    for leaf in leaves(method):
        _name(leaf)
    return [{_name(part): part.model_dump(mode="json", exclude={"kind"})} for part in parts(method)]


def parse(value: Any) -> Method:
    """A method from plain data.

    Args:
        value: ``{"kd": {"temperature": 4}, "ce": {"weight": 0.1}}``; a list of such mappings, where one
            method comes twice; a name alone; or a method.

    Raises:
        pydantic.ValidationError: With a location for every mistake, such as ``kd.temperature``.
    """
    if isinstance(value, Method):
        return value
    problems: list[InitErrorDetails] = []
    found = [_one(name, fields, place, problems) for name, fields, place in _entries(value, problems)]
    if not found and not problems:
        problems.append(_problem("a method needs at least one part, such as kd: {temperature: 4}", (), value))
    if problems:
        raise ValidationError.from_exception_data("method", problems)
    methods = tuple(part for part in found if part is not None)
    return methods[0] if len(methods) == 1 else Sum(methods=methods)


def catalogue() -> list[dict[str, Any]]:
    """What ``limbeck methods --json`` lists: name, family, summary, reads, defaults, paper."""
    return [_described(name, kind) for name, kind in METHODS.items()]


def described(handler: GetJsonSchemaHandler) -> JsonSchemaValue:
    """The JSON Schema of a method, as a recipe writes it.

    Args:
        handler: What describes the parts; it keeps their definitions.
    """
    fields = {}
    for name, kind in METHODS.items():
        entry = handler.resolve_ref_schema(handler(kind.__pydantic_core_schema__))
        own = {field: held for field, held in entry["properties"].items() if field != "kind"}
        fields[name] = {"anyOf": [{**entry, "properties": own}, {"type": "null"}]}
    together = {"type": "object", "additionalProperties": False, "minProperties": 1, "properties": fields}
    names = {"type": "string", "enum": list(METHODS)}
    return {
        "anyOf": [together, {"type": "array", "minItems": 1, "items": {"anyOf": [together, names]}}, names]
    }


_Place = tuple[int | str, ...]
_KNOWN: Final = frozenset(get_args(ErrorType))


def _entries(value: Any, problems: list[InitErrorDetails]) -> list[tuple[str, Any, _Place]]:
    if isinstance(value, str):
        return [(value, None, (value,))]
    if isinstance(value, Mapping):
        return [(str(name), fields, (str(name),)) for name, fields in value.items()]
    if isinstance(value, (list, tuple)):
        nested = [(place, _entries(entry, problems)) for place, entry in enumerate(value)]
        return [(name, fields, (place, *inner)) for place, group in nested for name, fields, inner in group]
    problems.append(_problem("expected a mapping such as kd: {temperature: 4}, or a list of such", (), value))
    return []


def _one(name: str, fields: Any, place: _Place, problems: list[InitErrorDetails]) -> Method | None:
    kind = METHODS.get(name)
    if kind is None:
        text = f"there is no method {name!r}.{nearest(name, METHODS)} `limbeck methods` lists all"
        problems.append(_problem(text, place, name))
        return None
    try:
        return kind.model_validate({} if fields is None else fields)
    except ValidationError as error:
        problems += [_moved(detail, place) for detail in error.errors(include_url=False)]
        return None


def _moved(detail: ErrorDetails, place: _Place) -> InitErrorDetails:
    """The same mistake, further inside."""
    kind, context = detail["type"], detail.get("ctx", {})
    if (
        kind not in _KNOWN
    ):  # raised by a validator of ours, such as this module's for a method inside a method
        text = PydanticCustomError(kind, "{text}", {**context, "text": detail["msg"]})
        return InitErrorDetails(type=text, loc=(*place, *detail["loc"]), input=detail["input"])
    return InitErrorDetails(type=kind, loc=(*place, *detail["loc"]), input=detail["input"], ctx=context)


def _problem(text: str, place: _Place, value: Any) -> InitErrorDetails:
    return InitErrorDetails(
        type=PydanticCustomError("method", "{text}", {"text": text}), loc=place, input=value
    )


def _name(method: Method) -> str:
    for name, kind in METHODS.items():
        if type(method) is kind:
            return name
    raise MethodError(
        f"{type(method).__name__} has no name in METHODS, so it cannot be written down, expected one of "
        f"{', '.join(METHODS)}. Add it to limbeck/methods/table.py."
    )


def _described(name: str, kind: type[Method]) -> dict[str, Any]:
    example = kind.model_validate({})
    reads = example.reads
    return {
        "name": name,
        "family": kind.family,
        "summary": (kind.__doc__ or "").strip().splitlines()[0],
        "reads": {"teacher": reads.teacher, "labels": reads.labels, "inside": reads.inside},
        "defaults": example.model_dump(mode="json", exclude={"kind"}),
        "paper": kind.paper,
    }
