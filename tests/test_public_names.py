"""The public names, in full: whoever adds, renames or removes one changes this list and the changelog."""

from __future__ import annotations

import importlib
import types
from pathlib import Path

import pytest

NAMES = {
    "limbeck": """
        AdamW AdaptiveKL Alignment AlphaBeta Assistant AttentionScores AttentionTransfer Augmentation Balance
        Branches CE CTC CTCFrames CTCSequence ChannelCorrelation Channels Choice ClassPairs ConfidentTeachers
        Congruence Contrastive ContrastiveBank Correlation Cosine DecoupledKD DeiT EMA Evaluation Exits
        Exports GateError Gaussian HeadRegression HiddenCosine Hint Importance JensenShannon KD
        LearnedTemperature LimbeckError Linear ListNet LogitMSE LwF MLP MarginMSE Masked Method MultiLabel
        Mutual Neighbours NormalisedKD OneCycle OnlineEnsemble Ordinal Overhaul Pair PastSelf Patient Plan
        Preprocessing PseudoLabel Regression Relational Replay Residual Reuse ReverseKL Review RunError SGD
        SampleWeights Sampled Schedule Selectivity Separable Similarity SkewKL SkewReverseKL Standardise
        TemperatureSchedule TokenRelations TopK TotalVariation Training UserError VERSION Variational ViT
        VirtualTeacher WSLD WarmUp distill distilling layers load run shrink tap watch
    """,
    "limbeck.cli": "",
    "limbeck.compress": """
        compact operators quantised_operators quantize
    """,
    "limbeck.data": """
        AnyData ArrayFiles Arrays Augmentation Contamination Digits Division FashionMNIST ImageFolder Loaded
        Mapped Parts Preprocessing PythonData Source Splits Stream as_source augment contamination
        from_dataset hashed image_folder load ordered read_arrays split
    """,
    "limbeck.evaluation": """
        Bin Calibration Candidate ClassQuality Efficiency Energy Fidelity Interval Memory Robustness
        SEVERITIES Verdict accuracy advice agreement balanced_accuracy break_even brier calibration
        confusion correct corrupt corruptions cost_per_million ece energy_per_million fidelity gap hardware
        inherited_errors kl_nats log_softmax lost macro_f1 measure metrics nll peak_memory per_class
        probabilities reliability retention robustness validation_warning verdict
    """,
    "limbeck.export": """
        Deployed ExportRecord FILES Runner export_student exportable onnx_engine open_module open_onnx
        open_program traced write_onnx write_program
    """,
    "limbeck.losses": """
        adaptive_kl alpha_beta angle_relation attention_map attention_score_error attention_transfer
        bank_contrastive best_path binary_kl blended_targets bounded_squared_error
        channel_correlation_distance channel_kl class_correlation_distance confidence_weights
        correlation_congruence correlation_distance cosine_hint cross_entropy ctc debiased_cka decoupled_kl
        distance_relation forward_kl frame_kl frame_weights frames_needed gaussian_kl gaussian_nll
        hierarchical_context huber in_batch_contrastive jensen_shannon linear_cka list_kl log_probs logit_mse
        margin_squared_error mean_logit mean_probability normalised_cross_entropy normalised_hidden_error
        pairwise_logistic partial_error plackett_luce probabilistic_transfer relation_kl relu_margin
        reverse_kl roughness sampled_cross_entropy sampled_targets selectivity_mmd sequence_ctc
        similarity_matrix_error similarity_preserving skew_kl skew_reverse_kl smooth_hint squared_emd
        squared_error squared_hint standardised statistics_gap top_k_kl top_k_of total_variation
        virtual_teacher_logits weighted_probability
    """,
    "limbeck.methods": """
        AdaptiveKL Alignment AlphaBeta AnyMethod AttentionScores AttentionTransfer Balance Branches CE CTC
        CTCFrames CTCSequence ChannelCorrelation Channels ClassPairs ConfidentTeachers Congruence Contrastive
        ContrastiveBank Correlation DecoupledKD DeiT EMA Exits Gaussian HeadRegression HiddenCosine Hint
        Importance JensenShannon KD LearnedTemperature ListNet LogitMSE LwF METHODS MarginMSE Masked Method
        MultiLabel Mutual Neighbours NormalisedKD OnlineEnsemble Ordinal Overhaul Pair PastSelf Patient
        PseudoLabel Reads Regression Relational Replay Reuse ReverseKL Review SampleWeights Sampled Schedule
        Selectivity Similarity SkewKL SkewReverseKL Standardise Sum TemperatureSchedule TokenRelations TopK
        TotalVariation Traced Variational VirtualTeacher WSLD WarmUp catalogue dump parse parts total
    """,
    "limbeck.models": """
        AnyModel Architecture EnsembleModel Folded Linear MLP Member Network PythonModel Residual Separable Together
        ViT check_answers count_parameters foldable folded kinds load_student load_weights read_weights
        save_student shrink state_digest
    """,
    "limbeck.pipeline": "",
    "limbeck.recipe": """
        AdamW Asking Assistant Choice Control Cosine Epochs Evaluation Execution Exports Gate OneCycle PRESETS Plan
        Recipe SGD StudentRecipe Taps TeacherRecipe Training Views dump json_schema load preset
    """,
    "limbeck.reports": """
        Asked AssistantResult Bin ClassResult Control Curve Efficiency Estimate ExportResult Lost ModelResult Report
        Retention SCHEMA SeedResult TeacherResult Verdict report_schema write_card write_comparison write_page
        write_report
    """,
    "limbeck.taps": """
        Compiled INPUT Layer attention axes by_depth is_compiled keys_beside layers paired_stages penultimate places
        refuse_uncompilable shape_at stages tap unwrapped
    """,
    "limbeck.teachers": """
        Ensemble Limits LiveTeacher OutOfFold RemoteTeacher Spent StoredTeacher as_teacher asked check_classes
        fold_of outside_fold
    """,
    "limbeck.teachers.store": """
        DenseAnswers Embeddings Features FixedViews Keep KeptError Progress SampledAnswers Store
        StoreKey Summary Text TopKAnswers TopKSampledAnswers Values Verification differences inspect label
        list_stores open_store pull push remote_names remove store_key verify
    """,
    "limbeck.training": """
        Distilling Estimate Measured Step TrainState
        distilling estimate executing gradient_conflict gradient_share laid_out
        load measure_plan remove save start train
    """,
}


@pytest.mark.parametrize("package", NAMES)
def test_public_names_are_these(package: str) -> None:
    module = importlib.import_module(package)
    found = {name for name, value in vars(module).items() if not isinstance(value, types.ModuleType)}
    assert sorted(name for name in found if not name.startswith("_")) == NAMES[package].split()


def test_every_package_is_listed() -> None:
    root = importlib.import_module("limbeck")
    folders = {path.parent for base in root.__path__ for path in Path(base).rglob("__init__.py")}
    base = Path(root.__path__[0])
    assert set(NAMES) == {".".join(("limbeck", *folder.relative_to(base).parts)) for folder in folders}
